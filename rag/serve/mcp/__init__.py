"""Model Context Protocol: the documents as tools of an agent program.

    client ── stdio ──> stdio.py ──┐
                                   ├──> server.py ──> tools.py ──> Rag
    client ── HTTP ───> http.py ───┘      │              └── forms.py: arguments and results, for the schemas
                                          └── progress, cancelling, errors as results

    preparing.py   the sync that a stdio server begins with
    wire.py        stdout carries the protocol only

A call works in a thread; the event loop only passes messages. Cancelling a call, or leaving, sets its event, and the
model that writes stops after at most one more token. Text of documents is only ever in results.
"""
