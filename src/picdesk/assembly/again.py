"""One session out of another: with what a job chose, on a second data set, or by the config of a job that was there before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict

from picdesk.assembly import shelf
from picdesk.assembly.build import plain_of
from picdesk.assembly.checkpoints import EXPORT, find
from picdesk.assembly.inherit import settle_precision, with_named_checkpoints
from picdesk.assembly.named import named_keys
from picdesk.assembly.reading import is_export, maker_of
from picdesk.assembly.saved_config import read_saved
from picdesk.assembly.saved_limits import OPEN, Limits, raw_node
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError, MissingFileError, UserError, first_line
from picdesk.training.checkpoint import CONFIG, Checkpoint

WHERE = ("root", "max_bad_fraction", "quoting", "encoding", "delimiter", "records")
OF_THIS_MACHINE = ("paths", "logger", "tolerance", "skip_completed", "shown", "plugins", "network")
OF_THIS_MACHINE_ENCODE = ("batch_size", "workers", "device")
MAY_CHANGE = ("paths", "logger", "encode", "plugins", "network")
"""What a stopped job may go on with otherwise than it was begun."""


def with_weights(session: Session, weights: Mapping[str, float]) -> Session:
    """The session with these weights of its rerankers."""
    changed = session.cfg.copy()
    for name, weight in weights.items():
        key = f"reranker.parts.{name}.weight" if "parts" in changed.reranker else "reranker.weight"
        OmegaConf.update(changed, key, float(weight))
    return session.with_config(changed)


def with_correction(session: Session, settings: Mapping[str, float] | None) -> Session:
    """The session with these settings of its score correction; None: with no correction."""
    changed = session.cfg.copy()
    if settings is None:
        changed.scores = OmegaConf.create({"_target_": "picdesk.search.corrections.Plain"})
        return session.with_config(changed)
    for key, value in settings.items():
        OmegaConf.update(changed, f"scores.{key}", type(getattr(session.correction, key))(value))
    return session.with_config(changed)


def on_second_data(session: Session) -> Session | None:
    """The session on the data set that `forget_on` names; None where it names none."""
    cfg = session.cfg
    if "data" not in cfg.forget_on:
        return None
    own = cfg.copy()
    with open_dict(own):
        for key in ("data", "split", "prompt"):
            OmegaConf.update(own, key, raw_node(cfg, f"forget_on.{key}"), merge=False)
        own.part = cfg.forget_on.part
    second = Session(own)
    second.encoder = session.encoder
    return second


def learned_on(session: Session, checkpoint: Checkpoint) -> tuple[Session | None, bool]:
    """A session on what a checkpoint was trained on, and whether that is another data set; None where data and split are those
    of this session."""
    cfg = session.cfg
    saved = read_saved(checkpoint.config_path, cfg, otherwise_searched=True)
    apart = [name for name in ("data", "split") if _what(plain_of(saved, name)) != _what(plain_of(cfg, name))]
    elsewhere = "data" in apart
    if not apart:
        return None, False
    again = cfg.copy()
    with open_dict(again):
        again.split = OmegaConf.to_container(saved.split, resolve=True)
        if elsewhere:
            again.data = raw_node(saved, "data")
    return Session(again), elsewhere


def is_export_of(session: Session, there: Session) -> bool:
    """Whether the data set of a session is what `task=export` wrote of that of another: its pictures have the ids of that."""
    folder = Path(str(session.cfg.data.get("root") or "")).expanduser()
    if not is_export(folder):
        return False
    saved = read_saved(folder / CONFIG, session.cfg)
    return _what(plain_of(saved, "data")) == _what(plain_of(there.cfg, "data"))


def lineage(session: Session, checkpoint: Checkpoint) -> tuple[list[Checkpoint], str]:
    """A checkpoint, those from which its fit began, and so on back; and why no more can be told, "" where these are all."""
    line, known, why = [checkpoint], {checkpoint.path.resolve()}, ""
    for one in line:
        try:
            starts = began_from(session, one)
        except UserError as error:
            why = why or first_line(error, most=None)
            continue
        line += [start for start in starts if start.path.resolve() not in known]
        known |= {start.path.resolve() for start in starts}
    return line, why


def began_from(session: Session, checkpoint: Checkpoint) -> list[Checkpoint]:
    """The checkpoints from which the fit of another began, by the config beside that: the one whose training went on, and those
    that made vectors or texts that it took as they are.

    Raises `UserError` where one is gone, changed, or not a place that a saved config may name.
    """
    saved = read_saved(checkpoint.config_path, session.cfg, otherwise_searched=True)
    if OmegaConf.is_missing(saved, "ckpt"):
        raise ConfigError(f"{checkpoint.config_path} names a ckpt outside of its job")
    start = [] if saved.get("ckpt") is None else [find(str(saved.ckpt), session.outputs)]
    there = session.cfg.copy()
    with open_dict(there):
        for key in ("backbone", "data"):
            there[key] = raw_node(saved, key)
    return [*start, *makers(Session(there))]


def makers(session: Session) -> list[Checkpoint]:
    """The checkpoint whose text tower `backbone=precomputed` has, else that which made the vectors of the export it reads.

    Raises `UserError` where it is gone, changed, or not a place that a saved config may name.
    """
    cfg, root = session.cfg, Path(str(session.cfg.data.get("root") or "")).expanduser()
    if OmegaConf.is_missing(cfg.backbone, "text_ckpt"):
        raise ConfigError("backbone.text_ckpt names a checkpoint outside of its job")
    ckpt = cfg.backbone.get("text_ckpt")
    if not ckpt and getattr(session.kind_of("backbone"), "knows_given_alone", False) and is_export(root):
        ckpt = EXPORT
    made = maker_of(cfg, str(ckpt))[1] if ckpt else None
    return [] if made is None else [made]


def _what(node: Mapping[Any, Any]) -> dict[str, Any]:
    """A node of plain values, less where things lie."""
    return {str(key): value for key, value in node.items() if key not in WHERE}


def of_job(session: Session, folder: Path) -> Session:
    """The session of the job that was done in `folder`; keys that are newer than it have this session's values."""
    saved = read_saved(folder / CONFIG, session.cfg).copy()
    with open_dict(saved):
        for key in (name for name in session.cfg if name not in saved):
            saved[str(key)] = raw_node(session.cfg, str(key))
    return Session(saved)


def as_it_was(session: Session, manifest: Path) -> Session:
    """The session of the job whose manifest this is, with this machine's paths, to be had again.

    Raises `ConfigError` where the command line names something that the job did not have.
    """
    again = of_job(session, manifest.parent).cfg
    with open_dict(again):
        for key in OF_THIS_MACHINE:
            again[key] = raw_node(session.cfg, key)
        for key in OF_THIS_MACHINE_ENCODE:
            OmegaConf.update(again, f"encode.{key}", raw_node(session.cfg, f"encode.{key}"))
        for key in named_for_again():
            if OmegaConf.select(session.cfg, key, throw_on_missing=False, default=OPEN) == OPEN:
                raise ConfigError(f"reproduce={manifest}: a job is had again as it was; leave out {key}")
            OmegaConf.update(again, key, raw_node(session.cfg, key), merge=False)
        if OmegaConf.is_missing(again, "ckpt"):
            again.ckpt = None  # it is found by its digest, or given by the command line
        again.skip_completed = False
    return Session(with_named_checkpoints(again))


def keys_inside(session: Session, folder: Path) -> list[str]:
    """Keys of a session's config whose value is the path of something in a folder; files that a task scores are left out."""
    inside = folder.resolve()
    leaves = Limits(session.cfg, session.cfg).leaves()
    paths = [(key, value) for key, value in leaves if "/" in value or key.rpartition(".")[2] == "root"]
    return [key for key, value in paths if key.split(".")[0] != "task" and lies_in(value, inside)]


def lies_in(value: str, inside: Path) -> bool:
    """Whether a text is the path of something in a folder, whose own path holds no links."""
    try:
        place = Path(value).expanduser()
        return bool(value) and place.exists() and place.resolve().is_relative_to(inside)
    except (OSError, ValueError, RuntimeError):
        return False


def named_for_again() -> list[str]:
    """Keys that the command line sets and that could change a number, or say where something lies."""
    own = ("task", "task.reproduce")
    return [key for key in named_keys() if key not in own and key.split(".")[0] not in OF_THIS_MACHINE]


def going_on(session: Session, resume: str) -> Session:
    """The session of a stopped training job, as it was begun. `resume` is its output dir.

    Raises `MissingFileError` where there is none, `ConfigError` where the command line says otherwise.
    """
    if shelf.sweeping():
        raise ConfigError(f"resume={resume}: one job goes on at a time; leave out -m")
    folder = Path(resume).expanduser() / "resume"
    if not (folder / CONFIG).is_file():
        raise MissingFileError(
            f"resume={resume}: no stopped training there; give the output dir of a train.py job that was killed"
        )
    others = [key for key in named_keys() if key != "task.resume" and key.split(".")[0] not in MAY_CHANGE]
    if others:
        raise ConfigError(f"resume={resume}: a job goes on as it was begun; leave out {', '.join(others)}")
    saved = read_saved(folder / CONFIG, session.cfg)
    with open_dict(saved):
        for key in named_keys():
            if key.split(".")[0] in MAY_CHANGE:
                OmegaConf.update(saved, key, OmegaConf.select(session.cfg, key), merge=False)
        settle_precision(saved.encode, saved.get("adaptation"))
    return Session(saved)


def begun_from(session: Session) -> Session:
    """The session of a job that goes on, with the checkpoint that it began from: its config holds all that it took from it."""
    ckpt = session.settings.ckpt
    return session if ckpt is None else Session(session.cfg, find(str(ckpt), session.outputs))
