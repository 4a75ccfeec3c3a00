"""Which checkpoint `ckpt=` means: a file, a folder, `latest`; for `best` or the folder of a sweep, that of its best job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from picdesk.assembly.shelf import keep_in_sweep, own_sweep
from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.files import WEIGHTS_FILE as WEIGHTS
from picdesk.report.manifest import Manifest
from picdesk.report.same_as import follow_pointer

if TYPE_CHECKING:
    from picdesk.training.checkpoint import Checkpoint

SWEEP = "multirun.yaml"
DEPTH = ("*", "*/*", "*/*/*")


@dataclass(frozen=True)
class Candidate:
    """A finished training job of a sweep: its name there, its weights, the objective and what that measures."""

    name: str
    weights: Path
    objective: float
    measure: str


def find(ckpt: str, outputs: Path) -> Checkpoint:
    """A checkpoint by its file, its folder, its job's output dir; `latest`: the newest that a training job left; `best`, or the
    folder of a sweep: that of the best job of the newest sweep, or of this one, by the objective.

    Raises `DataError` where weights or config are not as they were saved.
    """
    from picdesk.training.checkpoint import check

    checkpoint = locate(ckpt, outputs)
    check(checkpoint)
    return checkpoint


def locate(ckpt: str, outputs: Path) -> Checkpoint:
    """The same, not checked yet."""
    from picdesk.training.checkpoint import Checkpoint

    return Checkpoint(weights_of(ckpt, outputs))


def weights_of(ckpt: str, outputs: Path) -> Path:
    """Its weights, not looked at yet. Raises `MissingFileError`."""
    path = Path(ckpt).expanduser()
    if ckpt in NEWEST:  # no job of a sweep goes on from what another one has just left: all mean the same
        path = keep_in_sweep(ckpt, str(outputs), lambda: NEWEST[ckpt](outputs, own_sweep("train")))
    if is_sweep(path):
        return best_of(ckpt, path)
    for candidate in (path, path / WEIGHTS, path / "checkpoint" / WEIGHTS):
        if candidate.is_file():
            return candidate
    raise MissingFileError(
        f"ckpt={ckpt}: no checkpoint there; give a {WEIGHTS}, the output dir of a train.py job or sweep, latest, or best"
    )


def newest(outputs: Path, without: Path | None = None) -> Path:
    """The checkpoint written last under the outputs folder, in whatever folder of it the job was given, but for one folder.

    Raises `MissingFileError` where there is none.
    """
    found = [path for depth in (*DEPTH, "*/*/*/*") for path in outputs.glob(f"{depth}/checkpoint/{WEIGHTS}")]
    last = newest_outside(found, without)
    if last is None:
        raise MissingFileError(
            f"ckpt=latest: no training job has left a checkpoint under {outputs}{before_it(without)}; run train.py first"
        )
    return last


def newest_sweep(outputs: Path, without: Path | None = None) -> Path:
    """The folder of the sweep of train.py that ended last and left checkpoints, in whatever folder of `outputs` it was given, but
    for one folder.

    Raises `MissingFileError` where there is none.
    """
    found = [path for depth in DEPTH for path in outputs.glob(f"{depth}/{SWEEP}")]
    last = newest_outside([path for path in found if candidates(path.parent)], without)
    if last is None:
        raise MissingFileError(
            f"ckpt=best: no sweep of train.py has left a checkpoint under {outputs}{before_it(without)}; "
            "`train.py -m key=a,b` makes one, and ckpt=latest is the newest checkpoint of any job"
        )
    return last.parent


def newest_outside(found: Iterable[Path], without: Path | None) -> Path | None:
    """The file written last that does not lie in the folder `without`."""
    falling = sorted(found, key=lambda path: (path.stat().st_mtime_ns, str(path)), reverse=True)
    inside = None if without is None else without.resolve()
    return next((path for path in falling if inside not in path.resolve().parents), None)


def before_it(without: Path | None) -> str:
    """How the folder of a sweep is told of, in which nobody looked."""
    return "" if without is None else " before this sweep"


def best_of(ckpt: str, sweep: Path) -> Path:
    """The weights of the best job of a sweep; of equal ones, the first by name.

    Raises `MissingFileError` where no job left any, `ConfigError` where the objectives are of several kinds.
    """
    found = candidates(sweep)
    if not found:
        raise MissingFileError(f"ckpt={ckpt}: no finished training job of this sweep has left a checkpoint")
    measures = sorted({one.measure for one in found})
    if len(measures) > 1:
        raise ConfigError(
            f"ckpt={ckpt}: its jobs have objectives of several kinds ({'; '.join(measures)}), so none is best; "
            "give the output dir of one"
        )
    return min(found, key=lambda one: (-one.objective, one.name)).weights


def is_sweep(folder: Path) -> bool:
    """Whether Hydra's multirun made this folder."""
    return (folder / SWEEP).is_file()


def candidates(sweep: Path) -> list[Candidate]:
    """The finished jobs that left weights and an objective. A job that was done before counts where it was done."""
    found = []
    for folder in sorted({path.parent for depth in DEPTH for path in sweep.glob(f"{depth}/.hydra")}):
        try:
            source = follow_pointer(folder)
            manifest = Manifest.read(source / "manifest.json")
        except UserError:
            continue
        file = source / "checkpoint" / WEIGHTS
        if manifest.objective is not None and file.is_file():
            name = folder.relative_to(sweep).as_posix()
            found.append(Candidate(name, file, manifest.objective, manifest.measure))
    return found


NEWEST = {"latest": newest, "best": newest_sweep}
