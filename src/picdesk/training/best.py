"""`ckpt=best` and `ckpt=SWEEPDIR`: the checkpoint of the job of a sweep that did best by its own objective."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.report.manifest import Manifest
from picdesk.report.same_as import pointed

SWEEP = "multirun.yaml"
DEPTH = ("*", "*/*", "*/*/*")


@dataclass(frozen=True)
class Candidate:
    """A finished training job of a sweep: its name there, its weights, the objective and what that measures."""

    name: str
    weights: Path
    objective: float
    measure: str


def newest_sweep(outputs: Path, weights: str) -> Path:
    """The folder of the sweep of train.py that ended last and left checkpoints. Raises `MissingFileError` where there is none."""
    found = [path.parent for path in (*outputs.glob(f"train/*/*/{SWEEP}"), *outputs.glob(f"train/*/{SWEEP}"))]
    swept = [folder for folder in found if candidates(folder, weights)]
    if not swept:
        raise MissingFileError(
            f"ckpt=best: no sweep of train.py has left a checkpoint under {outputs}; `train.py -m key=a,b` makes one, and "
            "ckpt=latest is the newest checkpoint of any job"
        )
    return max(swept, key=lambda folder: ((folder / SWEEP).stat().st_mtime_ns, str(folder)))


def best_of(ckpt: str, sweep: Path, weights: str) -> Path:
    """The weights of the best job of a sweep; of equal ones, the first by name.

    Raises `MissingFileError` where no job left any, `ConfigError` where the objectives are of several kinds.
    """
    found = candidates(sweep, weights)
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


def candidates(sweep: Path, weights: str) -> list[Candidate]:
    """The finished jobs that left weights and an objective. A job that was done before counts where it was done."""
    found = []
    for folder in sorted({path.parent for depth in DEPTH for path in sweep.glob(f"{depth}/.hydra")}):
        try:
            source = pointed(folder)
            manifest = Manifest.read(source / "manifest.json")
        except UserError:
            continue
        file = source / "checkpoint" / weights
        if manifest.objective is not None and file.is_file():
            name = folder.relative_to(sweep).as_posix()
            found.append(Candidate(name, file, manifest.objective, manifest.measure))
    return found
