"""An index in one file, to carry to another machine: index.tar.zst.

    container.py  members in a tar in zstd, hashed one by one and as a whole; takes nothing on trust
    rows.py       what the members hold: the catalog's published rows as JSON lines, vectors as float32
    transfer.py   an index -> a file, a file -> the next generation of an index

What isn't the documents' stays behind: the derived indexes (made anew), dates and row numbers. So equal indexes give
equal bytes, and an archive says nothing of the machine that made it.
"""

from rag.store.archive.transfer import export_index, import_index

__all__ = ["export_index", "import_index"]
