"""What is counted of the desk at work, for Prometheus at `/metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from picdesk.serving.desk import Desk

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32)


class Counts:
    """Counters, histograms and gauges in a registry of their own, so that several desks in one process do not mix."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("picdesk_requests", "requests answered", ("route", "status"), registry=own)
        self.seconds = Histogram(
            "picdesk_request_seconds", "time to an answer", ("route",), buckets=SECONDS, registry=own
        )
        self.batches = Histogram("picdesk_batch_size", "questions computed together", buckets=SIZES, registry=own)
        self.reloads = Counter("picdesk_reloads", "generations after the first", registry=own)

    def watch(self, desk: Desk) -> None:
        """Gauges that look at the desk when they are asked."""
        kept = {"answers": desk.answers, "thumbnails": desk.thumbs.kept, "uploads": desk.uploads}
        for what, look in (
            ("hits", lambda own: own.hits),
            ("misses", lambda own: own.misses),
            ("bytes", lambda own: own.size),
            ("entries", len),
        ):
            gauge = Gauge(f"picdesk_kept_{what}", f"{what} of what is kept in memory", ("of",), registry=self.registry)
            for name, own in kept.items():
                gauge.labels(name).set_function(lambda own=own, look=look: float(look(own)))  # type: ignore[misc]
        waiting = Gauge("picdesk_waiting", "questions in the queue", registry=self.registry)
        waiting.set_function(lambda: float(desk.hand.length))
        items = Gauge("picdesk_items", "items that are searched", registry=self.registry)
        items.set_function(lambda: float(len(desk.now.gallery(desk.now.first_find))))
        encoded = Gauge("picdesk_encoded", "questions that went through an encoder", registry=self.registry)
        encoded.set_function(lambda: float(desk.now.standing.passed))

    def text(self) -> bytes:
        """All of it in Prometheus's text form."""
        return generate_latest(self.registry)
