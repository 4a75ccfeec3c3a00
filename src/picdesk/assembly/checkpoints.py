"""Which checkpoint `ckpt=` means: a file, a folder, `latest`; for `best` or the folder of a sweep, that of its best job."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picdesk.assembly.shelf import keep_in_sweep, own_sweep
from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.files import WEIGHTS_FILE as WEIGHTS
from picdesk.files import write_json
from picdesk.report.manifest import Manifest
from picdesk.report.metrics_file import read_json
from picdesk.report.same_as import follow_pointer

if TYPE_CHECKING:
    from picdesk.training.checkpoint import Checkpoint

SWEEP, NOTED = "multirun.yaml", "checkpoints.json"
DEPTH = ("*", "*/*", "*/*/*")
EXPORT = "export"
"""What `backbone.text_ckpt` says where it means whatever made the export that is the data set."""


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
    if ckpt in NEWEST:
        noted = noted_meaning(ckpt, outputs)
        path = noted or keep_in_sweep(ckpt, str(outputs), lambda: NEWEST[ckpt](outputs))
        if noted and not path.is_file():
            raise MissingFileError(f"ckpt={ckpt}: {path}, which it was when this sweep began, is gone")
    if is_sweep(path):
        return best_of(ckpt, path)
    path = follow_pointer(path)
    for candidate in (path, path / WEIGHTS, path / "checkpoint" / WEIGHTS):
        if candidate.is_file():
            return candidate
    raise MissingFileError(
        f"ckpt={ckpt}: no checkpoint there; give a {WEIGHTS}, the output dir of a train.py job or sweep, latest, or best"
    )


def note_meanings(
    folder: Path, outputs: Path, asked: Sequence[str], command: Sequence[str], takes_up: bool = False
) -> None:
    """As a sweep begins, write into its folder which checkpoint each of the words `asked` is: all of its jobs take that one, in
    whatever process and whatever other jobs leave meanwhile, those of the sweep itself among them.

    A sweep of fits that `takes_up` those of the same command takes what was noted before them, unless a checkpoint has come from
    elsewhere since.
    """
    if not asked:
        (folder / NOTED).unlink(missing_ok=True)  # of another command
        return
    about = {
        "command": sorted(line for line in command if not line.startswith("skip_completed=")),
        "outputs": [spelled_out(outputs)],
    }
    before = read_noted(folder) if takes_up else {}
    kept = before if about.items() <= before.items() else {}
    began, found = float(kept.get("began", time.time())), {}
    for word in asked:
        with suppress(UserError):  # told by the job that asks for it
            place = NEWEST[word](outputs, folder if word in kept else None)
            if word not in kept or (place / SWEEP if is_sweep(place) else place).stat().st_mtime > began:
                found[word] = str(best_of(word, place) if is_sweep(place) else place)
    noted = {word: kept[word] for word in asked if word in kept} | found
    write_json(folder / NOTED, {**about, "began": began, **noted})


def words_asked(plain: Mapping[str, Any], command: Sequence[str]) -> list[str]:
    """Which of the words a sweep asks for, under any key that names a checkpoint: in its config, as plain values, or among what
    is swept; all of them where experiments are swept, each of which may ask for any."""
    if any(re.match(r"\+{0,2}experiment=.*(,|\()", line) for line in command):
        return list(NEWEST)
    swept = (re.split(r"[^\w]+", value) for key, _, value in (line.partition("=") for line in command) if is_key(key))
    found = {*itertools.chain.from_iterable(swept), *named_in(plain)}
    return [word for word in NEWEST if word in found]


def is_key(key: str) -> bool:
    """Whether a key names a checkpoint."""
    return key.rpartition(".")[2].endswith("ckpt")


def named_in(plain: Mapping[str, Any]) -> Iterator[str]:
    """What stands under the keys that name checkpoints, anywhere in a config of plain values."""
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from named_in(value)
        elif is_key(str(key)):
            yield str(value)


def noted_meaning(word: str, outputs: Path) -> Path | None:
    """The checkpoint that this job's sweep noted for a word as it began; None where there is no sweep, or nothing was noted."""
    folder = own_sweep()
    noted = read_noted(folder) if folder is not None else {}
    if word not in noted or noted["outputs"] != [spelled_out(outputs)]:
        return None
    return Path(noted[word]) if Path(spelled_out(outputs)) in Path(spelled_out(noted[word])).parents else None


def spelled_out(path: Path | str) -> str:
    """A path from the root, without `..`; links stay: the outputs may hold one to a larger disk."""
    return os.path.normpath(Path(path).absolute())


def read_noted(folder: Path) -> dict[str, Any]:
    """What `note_meanings` wrote; nothing where it wrote none, or what cannot be read."""
    content: Any = {}
    if (folder / NOTED).is_file():
        with suppress(UserError):
            content = read_json(folder / NOTED)
    known = isinstance(content, dict) and isinstance(content.get("began"), float) and "outputs" in content
    return content if known and all(isinstance(content.get(word, ""), str) for word in NEWEST) else {}


def newest(outputs: Path, without: Path | None = None) -> Path:
    """The checkpoint written last under the outputs folder, in whatever folder of it the job was given, but for one folder.

    Raises `MissingFileError` where there is none.
    """
    found = [path for depth in (*DEPTH, "*/*/*/*") for path in outputs.glob(f"{depth}/checkpoint/{WEIGHTS}")]
    last = newest_outside(found, without)
    if last is None:
        raise MissingFileError(
            f"ckpt=latest: no training job has left a checkpoint under {outputs}; run train.py first"
        )
    return last


def newest_sweep(outputs: Path, without: Path | None = None) -> Path:
    """The folder of the sweep of train.py that began last and left checkpoints, in whatever folder of `outputs` it was given, but
    for one folder.

    Raises `MissingFileError` where there is none.
    """
    found = [path for depth in DEPTH for path in outputs.glob(f"{depth}/{SWEEP}")]
    last = newest_outside([path for path in found if candidates(path.parent)], without)
    if last is None:
        raise MissingFileError(
            f"ckpt=best: no sweep of train.py has left a checkpoint under {outputs}; `train.py -m key=a,b` makes one, and "
            "ckpt=latest is the newest checkpoint of any job"
        )
    return last.parent


def newest_outside(found: Iterable[Path], without: Path | None) -> Path | None:
    """The file written last that does not lie in the folder `without`."""
    falling = sorted(found, key=lambda path: (path.stat().st_mtime_ns, str(path)), reverse=True)
    inside = None if without is None else without.resolve()
    return next((path for path in falling if inside not in path.resolve().parents), None)


def best_of(ckpt: str, sweep: Path) -> Path:
    """The weights of the best job of a sweep; of equal ones, the first by name.

    Raises `MissingFileError` where no job left any, `ConfigError` where the objectives are of several kinds, `DataError` where
    one points to a folder that it may not name, or left a manifest that cannot be read: that job might be the best.
    """
    found = candidates(sweep, passed_over=MissingFileError)
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


def folders_of_jobs(sweep: Path) -> list[Path]:
    """What Hydra made for the jobs of a sweep."""
    return sorted({path.parent for depth in DEPTH for path in sweep.glob(f"{depth}/.hydra")})


def candidates(sweep: Path, passed_over: type[UserError] = UserError) -> list[Candidate]:
    """The finished jobs that left weights and an objective. A job that was done before counts where it was done; one at which an
    error of the kind `passed_over` comes up does not count."""
    found = []
    for folder in folders_of_jobs(sweep):
        try:
            source = follow_pointer(folder)
            manifest = Manifest.read(source / "manifest.json")
        except passed_over:
            continue
        file = source / "checkpoint" / WEIGHTS
        if manifest.objective is not None and file.is_file():
            name = folder.relative_to(sweep).as_posix()
            found.append(Candidate(name, file, manifest.objective, manifest.measure))
    return found


NEWEST = {"latest": newest, "best": newest_sweep}
