"""A clock that tests wind themselves."""

import pytest


class Clock:
    """Stands in for the processor's clock, so that no test depends on how busy the machine is: a reading takes 0.1 ms."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the clock of all that measures a search."""
        for module in ("measure", "contests.contest", "contests.payback"):
            monkeypatch.setattr(f"picdesk.search.{module}.perf_counter", self)
