"""A job's output dir: what is left there, so that its numbers can be had again."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from picdesk.assembly.schema import Settings
from picdesk.assembly.session import Session
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.home import at_door
from picdesk.jobs import attempts
from picdesk.jobs.completed import completed_objective
from picdesk.jobs.identity import job_fingerprint, settings_of
from picdesk.process import stops
from picdesk.report.manifest import Manifest
from picdesk.report.metrics_file import write_metrics
from picdesk.report.provenance import Stage, Stopwatch, now
from picdesk.report.same_as import SAME
from picdesk.retrieval.scores import ByDirection, in_order
from picdesk.trec.files import runs_written, write_qrels

log = logging.getLogger(__name__)
LEAST_RESAMPLES, MOST_RESAMPLES = 20, 10_000_000
REPORTED = "mean hits@1 of the data that is reported"


class Job:
    """One job: its folder, its clock, its logger."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.folder = session.output_dir
        self.clock = Stopwatch()
        self.logger = session.logger()
        self.fingerprint = ""
        self.objective: float | None = None
        self.measure = REPORTED
        self.compared: Mapping[str, Mapping[str, float]] = {}
        self.digests: dict[str, str] = {}
        attempts.OPEN.append(self.logger)
        if not attempts.RUNNING:
            stops.go_on_by(lambda: again(self.folder, session.store))

    def numbers_settings(self) -> dict[str, str]:
        """All settings that can change a number, by key, of the session as it is now: tuning puts what it chose in its place."""
        return settings_of(self.session.unresolved_config)

    def done_before(self, data: Mapping[str, str], weights: Mapping[str, str]) -> float | None:
        """Take the job's fingerprint; with skip_completed=true, the objective of a finished job that has the same one.

        A job that is to be judged (`expected`) is never skipped: a manifest does not say what came of that.
        """
        self.fingerprint = job_fingerprint(digest_of(self.numbers_settings()), data, weights)
        settings = self.session.settings
        skips = settings.skip_completed and not settings.expected
        return completed_objective(self.session.outputs, self.folder, self.fingerprint) if skips else None

    def write_config(self, **other: str | None) -> None:
        """The config as the job used it, but for `other` values of keys at its top. Interpolations stay as they are, so that it
        can be used in another folder too."""
        self.session.write_config(self.folder / "config.yaml", **other)

    @contextmanager
    def lists_written(self, scored: ByDirection) -> Iterator[None]:
        """run.trec, which the disk takes while the block is at something else, and qrels.trec after it."""
        runs = {direction: one.run for direction, one in scored.items()}
        with runs_written(self.folder / "run.trec", runs) as digest:
            yield
        self.digests["run.trec"] = digest
        write_qrels(self.folder / "qrels.trec", {direction: one.qrels for direction, one in scored.items()})

    def write_lists(self, scored: ByDirection) -> None:
        """run.trec and qrels.trec."""
        with self.lists_written(scored):
            pass

    def write_metrics(self, scored: ByDirection, extra: Mapping[str, Any]) -> None:
        """metrics.json; how long index and search took goes to the clock."""
        for direction, one in scored.items():
            spent = (("index", one.index_seconds), ("search", one.seconds))
            self.clock.stages += [Stage(f"{what} {direction}", now(), seconds) for what, seconds in spent if seconds]
        write_metrics(self.folder / "metrics.json", metrics_json(scored) | dict(extra))

    def write_manifest(
        self,
        data: Mapping[str, str],
        weights: Mapping[str, str],
        encoder: Encoder | None,
        left_out: int,
        files: Sequence[str] | None = None,
    ) -> None:
        """manifest.json, last of all: it holds the digests of the other files."""
        counts = {"left_out": left_out}
        if encoder is not None:
            for modality in ("image", "text"):
                counts[f"{modality}s_encoded"] = encoder.counts.encoded[modality]
                counts[f"{modality}s_reused"] = encoder.counts.reused[modality]
            counts |= encoder.counts.more | encoder.unread.counts()
        settings = self.numbers_settings()
        manifest = Manifest.of_job(
            self.folder,
            self.clock,
            task=self.session.settings.task,
            seed=self.session.settings.seed,
            data=data,
            weights=weights,
            config=digest_of(settings),
            index=str(self.session.target_of("index")),
            counts=counts,
            files=None if files is None else ("config.yaml", *files),
            digests=self.digests,
            settings=settings,
            fingerprint=self.fingerprint,
            objective=self.objective,
            measure=self.measure,
            compared=self.compared,
            choices=self.session.choices.made,
            batch_size=None if encoder is None else encoder.batch_size,
        )
        manifest.write(self.folder / "manifest.json")
        (self.folder / SAME).unlink(missing_ok=True)


def metrics_json(scored: ByDirection) -> dict[str, Any]:
    """Metrics by direction, each with its interval where it has one."""
    return {
        direction: {
            "metrics": one.metrics,
            "intervals": {name: [one.intervals[name].low, one.intervals[name].high] for name in one.intervals},
        }
        for direction, one in in_order(dict(scored))
    }


def again(folder: Path, store: Path) -> str:
    """How to go on with a job that was stopped: from its state where it was training, else anew with what is encoded."""
    if any((folder / "resume").glob("*.pt")):
        return f"go on: {at_door('train')} {shlex.quote(f'resume={folder}')}"
    return f"run the same command again; what was encoded is kept in {store}"


def need_positive(settings: Settings, scored: bool = True) -> None:
    """Refuse counts that make no sense before anything is read; of a job that is `scored`, lists too short for its metrics."""
    counts = {"top_k": settings.top_k, "run_depth": settings.run_depth, "shown": settings.shown}
    for key, count in counts.items():
        if count < 1:
            raise ConfigError(f"{key}={count}: at least 1 is needed")
    if scored and settings.run_depth < 10:
        raise ConfigError(f"run_depth={settings.run_depth}: at least 10 is needed, as hits@10 is reported")
    bars = settings.bootstrap
    if not 0 < bars.level < 1:
        raise ConfigError(f"bootstrap.level={bars.level}: a share between 0 and 1 is needed, such as 0.95")
    if not LEAST_RESAMPLES <= bars.resamples <= MOST_RESAMPLES:
        told = f"at least {LEAST_RESAMPLES} are needed, and at most {MOST_RESAMPLES}"
        raise ConfigError(f"bootstrap.resamples={bars.resamples}: {told}")
    if not 0 <= settings.seed < 2**32:
        raise ConfigError(f"seed={settings.seed}: a whole number from 0 to {2**32 - 1} is needed")
