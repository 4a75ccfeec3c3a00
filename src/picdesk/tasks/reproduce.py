"""`evaluate.py reproduce=outputs/.../manifest.json`: the job again from what it left, or a refusal that says what differs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from picdesk.assembly.again import as_it_was, keys_inside, named_for_again
from picdesk.assembly.allowed import current
from picdesk.assembly.checkpoints import is_sweep, locate
from picdesk.assembly.saved_config import as_written
from picdesk.assembly.saved_limits import NEVER
from picdesk.assembly.schema import Settings
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.jobs.archive import MANIFEST, unpack
from picdesk.jobs.folder import need_positive
from picdesk.jobs.identity import settings_of
from picdesk.jobs.verdict import Verdict, compare_numbers, in_tables
from picdesk.report import provenance
from picdesk.report.manifest import BESIDE, Manifest
from picdesk.report.metrics_file import read_scores
from picdesk.report.same_as import follow_pointer
from picdesk.retrieval.scores import ByDirection
from picdesk.tasks.scoring import evaluate_files, evaluate_model
from picdesk.training.checkpoint import WEIGHTS, Checkpoint, check

log = logging.getLogger(__name__)
RUN_ALONE = (
    "a run file that came with the job was scored; no model was asked, and nothing here says where its ranks come from"
)
MOVED = "what lies elsewhere now, under the name that it had, is given by its key beside reproduce=JOB: KEY=PLACE"
TASKS = ("train", "evaluate", "tune_weights")


def reproduce(session: Session, name: str) -> float:
    """One job. Raises `ConfigError` naming each key whose fingerprint differs, before anything is scored."""
    given = Path(name).expanduser()
    path = manifest_of(given, session)
    manifest = Manifest.read(path)
    if manifest.task not in TASKS:
        raise ConfigError(
            f"reproduce={path}: a job of task={manifest.task}; only those of {', '.join(TASKS)} are had again this way. "
            f"Repeat its command, once you have read it: {manifest.command_text}"
        )
    again = rebuilt(session, path, manifest)
    need_positive(again.settings)
    manifest.check_files(path.parent)
    reported = read_scores(path.parent / "metrics.json")
    tell_other_code(manifest)
    tell_other_arithmetic(manifest, session.settings.encode.batch_size, session.settings.tolerance)

    task = again.build("task")
    whose = facts_of_sender(again, path.parent, bool(task.run_file))

    def same_inputs(data: Mapping[str, str], weights: Mapping[str, str]) -> None:
        weights = {key: value for key, value in weights.items() if key != "name"}
        theirs = {key: value for key, value in manifest.weights.items() if key != "name"}
        refuse(path, [*differing_digests("data", manifest.data, data), *differing_digests("weights", theirs, weights)])

    def verdict(settings: Settings, scored: ByDirection) -> Verdict:
        facts = {"reproduced": str(path), "command": manifest.command_text, **whose}
        title = f"Reproduction of {given.parent.name if path == given else given.name}"
        lines = compare_numbers(in_tables(reported, scored), scored, settings.tolerance, "metrics.json")
        same = str(provenance.code()) == str(manifest.code)
        return Verdict(tuple(lines), settings.tolerance, facts, title, reported, same_code=same)

    if task.run_file:
        return evaluate_files(again, task.run_file, task.qrels_file, verdict, same_inputs)
    weighed = again.using(weights_again(session, again, path, manifest))
    weighed.choices.recorded = manifest.choices
    try:
        return evaluate_model(weighed, verdict, same_inputs)
    except MissingFileError as error:
        raise MissingFileError(f"{error}; {MOVED}") from None


def facts_of_sender(again: Session, folder: Path, run_alone: bool) -> dict[str, str]:
    """What the verdict says of inputs that came with the job: numbers that are had again from them are no more than they are."""
    facts = {"measured again": RUN_ALONE} if run_alone else {}
    inside = keys_inside(again, folder)
    return facts | ({"came with the job": f"what is named by {', '.join(inside)}"} if inside else {})


def manifest_of(given: Path, session: Session) -> Path:
    """The manifest that `reproduce=` means: itself, that of a job's folder, or of a packed job, which is unpacked first.

    Raises `MissingFileError` where nothing of that name is there, or a folder that is no job's; `ConfigError` for a sweep's;
    `DataError` for another file of a job.
    """
    if is_sweep(given):
        raise ConfigError(f"reproduce={given}: the folder of a sweep; give that of one of its jobs")
    wanted = f"give the output dir of a job, its {MANIFEST}, or an archive that `picdesk pack` made"
    named = follow_pointer(given) / MANIFEST if given.is_dir() else given
    if not named.is_file():
        raise MissingFileError(f"reproduce={given}: no job there; {wanted}")
    if given.name in BESIDE:
        raise DataError(f"reproduce={given}: another file of a job; {wanted}")
    if given.name.endswith((".tar.gz", ".tgz")):
        folder = session.output_dir / "reproduced"
        unpack(given, folder)
        return folder / MANIFEST
    return named


def rebuilt(session: Session, path: Path, manifest: Manifest) -> Session:
    """The job's own session with this machine's paths. Raises `ConfigError` naming the settings that are not the manifest's."""
    place = path.parent / "config.yaml"
    written = settings_of(as_written(place))
    refuse_settings(path, manifest, written, {*manifest.settings, *written})
    again = as_it_was(session, path)
    asked = settings_of(again.unresolved_config)
    both, own = {*asked, *manifest.settings}, named_for_again()
    refuse_settings(path, manifest, asked, {key for key in both if any(under(key, name) for name in own)})
    return again


def refuse_settings(path: Path, manifest: Manifest, asked: Mapping[str, str], keys: set[str]) -> None:
    """Raise `ConfigError` naming those of the keys whose value is not the manifest's; not what is never taken from a job."""
    refuse(
        path,
        [
            f"{key} is {asked.get(key, 'absent')}, the manifest has {manifest.settings.get(key, 'none')}"
            for key in sorted(keys)
            if by_current_name(key, asked) != by_current_name(key, manifest.settings)
            and key.rpartition(".")[2] not in NEVER
        ],
    )


def by_current_name(key: str, settings: Mapping[str, str]) -> str | None:
    """A value of the settings, as JSON; of a part the name that it has now."""
    value = settings.get(key)
    return value if value is None or not key.endswith("_target_") else current(value.strip('"'))


def under(key: str, name: str) -> bool:
    """Whether a dotted key is `name` or lies below it."""
    return key == name or key.startswith(f"{name}.")


def differing_digests(kind: str, reported: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """`data.pictures: ab12... here, cd34... in the manifest` for each digest that is not the same."""
    return [
        f"{kind}.{key} is {str(found.get(key))[:12]}, the manifest has {str(reported.get(key))[:12]}"
        for key in dict.fromkeys([*reported, *found])
        if reported.get(key) != found.get(key)
    ]


def refuse(path: Path, differs: list[str]) -> None:
    """Raise if anything differs."""
    if differs:
        more = f" (and {len(differs) - 3} more)" if len(differs) > 3 else ""
        raise ConfigError(f"reproduce={path}: not the same job: {'; '.join(differs[:3])}{more}")


def weights_again(session: Session, again: Session, path: Path, manifest: Manifest) -> Checkpoint | None:
    """The checkpoint that the numbers came from: beside the manifest, as named, or any below the outputs, by its digest."""
    wanted = manifest.weights.get("checkpoint")
    if wanted is None:
        return None
    seen: list[str] = []
    for place in places(session, again, path):
        try:
            checkpoint = locate(str(place), session.outputs)
        except MissingFileError:
            continue
        if checkpoint.digest == wanted:
            check(checkpoint)
            return checkpoint
        seen.append(checkpoint.digest)
        if session.settings.ckpt or place == path.parent:
            break  # this is the one that is meant, and it was changed
    if seen:
        refuse(path, [f"weights.checkpoint is {seen[-1][:12]}, the manifest has {wanted[:12]}"])
    raise MissingFileError(
        f"reproduce={path}: weights.checkpoint {wanted[:12]} is not here; give the {WEIGHTS} of that job as ckpt=FILE"
    )


def places(session: Session, again: Session, path: Path) -> Iterable[Path]:
    """Where the checkpoint may lie, the likeliest first."""
    if session.settings.ckpt:
        yield Path(session.settings.ckpt)
    yield path.parent
    if again.settings.ckpt:
        yield Path(again.settings.ckpt)
    yield from sorted(session.outputs.rglob(WEIGHTS))


def tell_other_code(manifest: Manifest) -> None:
    """Say so where code or packages are not those of the job; they do not refuse, the numbers decide."""
    code, packages = provenance.code(), provenance.package_versions()
    if (code.version, code.revision) != (manifest.code.version, manifest.code.revision) or code.dirty:
        log.warning("code here: %s; of the job: %s", code, manifest.code)
    other = [
        f"{name} {packages.get(name)} (the job: {version})"
        for name, version in manifest.packages.items()
        if packages.get(name) != version
    ]
    if other:
        log.warning("packages that differ: %s", ", ".join(other))


def tell_other_arithmetic(manifest: Manifest, batch_size: int, tolerance: float) -> None:
    """Say so where the machine may round otherwise than the job's did: scores then differ in their last digits."""
    here = provenance.arithmetic() | {"encode.batch_size": str(batch_size)}
    other = [
        f"{name} {here.get(name, 'not set')} (the job: {manifest.arithmetic.get(name, 'not set')})"
        for name in dict.fromkeys([*manifest.arithmetic, *here])
        if here.get(name) != manifest.arithmetic.get(name)
    ]
    if manifest.arithmetic and other:
        log.warning("rounds otherwise: %s; numbers are compared within %g", ", ".join(other), tolerance)
