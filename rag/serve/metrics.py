"""Figures for Prometheus, one registry per server. Labels are few and never hold what a client or document says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from rag.serve.desk import Desk
    from rag.types import Answer

TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


def outcome_of(answer: Answer) -> str:
    """As the figures count it."""
    return "abstained" if answer.abstained else "answered"


class Metrics:
    def __init__(self, desk: Desk) -> None:
        self.registry = r = CollectorRegistry()
        self._requests = Counter("rag_http_requests", "Requests", ["method", "route", "status"], registry=r)
        self._seconds = Histogram("rag_http_seconds", "Time of a request", ["route"], buckets=QUICK, registry=r)
        self._questions = Counter("rag_questions", "Questions by what became of them", ["outcome"], registry=r)
        self._answer = Histogram(
            "rag_question_seconds", "Time of an answer, waiting included", buckets=SLOW, registry=r
        )
        for outcome in ("answered", "abstained", "failed", "cancelled"):
            self._questions.labels(outcome)
        for name, told, value in (
            ("rag_questions_inside", "Questions being answered or waiting", lambda: desk.questions.inside),
            ("rag_questions_waiting", "Questions that wait for the model", lambda: desk.generating.waiting),
            ("rag_searches_inside", "Searches running or waiting", lambda: desk.searches.inside),
            ("rag_sync_running", "1 while a sync runs", lambda: int(desk.syncing.running)),
            ("rag_index_generation", "Generation of the index that is served", desk.generation),
        ):
            Gauge(name, told, registry=r).set_function(value)

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        """`status` 0: the client left before the answer began."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def asked(self, outcome: str, seconds: float) -> None:
        self._questions.labels(outcome).inc()
        self._answer.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
