"""A saved index at the doors: what it was made from, the config that rebuilds what asks it, and a search without embeddings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf, open_dict

from picdesk.assembly.inherit import inherit, is_open, settle_precision, with_checkpoint
from picdesk.assembly.named import named_keys
from picdesk.assembly.saved_config import read_saved
from picdesk.assembly.saved_text import read_text
from picdesk.assembly.session import Session
from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection
from picdesk.embedding.precision import AUTO
from picdesk.errors import ConfigError, DataError, MissingFileError, UserError
from picdesk.files import hold
from picdesk.filters.columns import Columns
from picdesk.filters.kept import COLUMNS, KeptColumns, read_columns, write_columns
from picdesk.interfaces import Direction, Index
from picdesk.process.foreign_folders import check_to_write
from picdesk.retrieval.catalogue import Catalogue
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.index_facts import of_backbone, prompt_facts
from picdesk.search.corrected import FILE
from picdesk.search.open_saved import made_from
from picdesk.search.own_files import check_free

log = logging.getLogger(__name__)
CONFIG = "config.yaml"
INHERITED = ("data", "split", "part", "prompt", "index", "scores", "seed", "paths.data_root", "encode.precision")
INHERITED_TOO = ("encode.engine", "encode.fast_decode", "encode.storage")
CONFIG_IS = {"config": "signed"}
"""What a header says of the config beside it: one that has lost its last line is damaged, not of an earlier version."""
TOLD = ("data", "fields", "checkpoint", COLUMNS)  # said of an index, but no reason to refuse it


def refuse_captions(backbone: TwoTower, key: str) -> None:
    """A backbone that searches the captions of pictures has no vector of a picture to keep."""
    if backbone.by_captions:
        raise ConfigError(f"{key}: backbone={backbone.name} searches captions, and a picture has no vector of its own")


def place_for(session: Session, name: str, key: str) -> Path:
    """The folder that a new index is to be saved in. Raises `ConfigError` or `DataError` for one that holds anything else."""
    folder = Path(name).expanduser()
    uri = str(session.cfg.index.get("uri") or "://")
    file = Path(uri).absolute()  # of a database, which may lie in the folder too
    check_free(folder, key, folder / file.name if file.parent == folder.absolute() else None)
    check_to_write(folder, key)
    return folder


def save(session: Session, folder: Path, index: Index, facts: Mapping[str, Any], known: Columns) -> None:
    """Write the index, and beside it what is known of its items and the config that rebuilds backbone and prompt."""
    with hold(folder):
        save_known(index, folder, facts, known)
        if not index.corrected:
            (folder / FILE).unlink(missing_ok=True)
        keep_config(session, folder)
    log.info("index: %s: %s items", folder, f"{len(index.ids):,}")


def save_known(index: Index, folder: Path, facts: Mapping[str, Any], known: Columns) -> None:
    """Write the index with the columns of its items, which its header names."""
    digest = write_columns(folder, known.take(index.ids))
    index.save(folder, {**facts, **CONFIG_IS, COLUMNS: digest})


def known_in(folder: Path, facts: Mapping[str, Any]) -> Columns | None:
    """The columns that were saved with an index; None for one of an earlier version, which has none."""
    return read_columns(folder, str(facts[COLUMNS])) if facts.get(COLUMNS) else None


def keep_config(session: Session, folder: Path) -> None:
    """The config, with the index's own settings resolved: its address must not move with the outputs of a later job."""
    cfg = session.cfg
    kept = cfg.copy()
    kept.index = OmegaConf.to_container(cfg.index, resolve=True)
    if "://" not in str(kept.index.get("uri") or "://"):
        kept.index.uri = str(Path(str(kept.index.uri)).absolute())
    with open_dict(kept):
        kept.task, kept.filter = {"name": session.settings.task}, None
        kept.ckpt = None if cfg.ckpt is None else str(Path(str(cfg.ckpt)).absolute())
    Session(kept).write_config(folder / CONFIG)


def folder_of(index_dir: str | None) -> Path:
    """The folder that `index_dir` names. Raises `ConfigError` or `MissingFileError` where there is no saved index."""
    if not index_dir:
        raise ConfigError("index_dir must be given: this task needs the folder of a saved index")
    folder = Path(index_dir).expanduser()
    if not (folder / CONFIG).is_file():
        told = f"no saved index there ({CONFIG} is missing); save_index=DIR or task=index_build makes one"
        raise MissingFileError(f"index_dir={index_dir}: {told}")
    return folder


def check_config(folder: Path) -> None:
    """Raise `DataError` where the header says that the config beside it was written with a last line, and it has none."""
    header = made_from(folder)
    if all(header.get(key) == value for key, value in CONFIG_IS.items()) and not read_text(folder / CONFIG).signed:
        raise DataError(f"{folder / CONFIG}: changed or damaged since it was written: its last line is missing")


def with_index(session: Session, folder: Path, leave: tuple[str, ...] = ()) -> Session:
    """The session with what the index was built by, but for what the command line names itself, and for `leave`."""
    named = named_keys()
    check_config(folder)
    saved = read_saved(folder / CONFIG, session.cfg)
    cfg = session.cfg.copy()
    if "ckpt" not in named:
        if is_open(saved, "ckpt"):
            raise ConfigError(f"index_dir={folder}: its checkpoint lies outside it: give it again by ckpt=FILE")
        cfg.ckpt = saved.ckpt
    own_index, left_open = cfg.index, cfg.encode.precision == AUTO
    cfg, checkpoint = with_checkpoint(cfg, settle=False)
    if left_open:
        cfg.encode.precision = AUTO  # the index says it, not its checkpoint
    if any(name == "index" for name in named):
        cfg.index = own_index
    keys = [key for key in (*INHERITED, *INHERITED_TOO) if key not in leave]
    with open_dict(cfg):
        for key in keys if checkpoint else ["backbone", *keys]:
            inherit(cfg, saved, key, named)
    settle_precision(cfg.encode, cfg.get("adaptation"))
    return Session(cfg, checkpoint, whole=True)


def session_of(session: Session, folder: Path, leave: tuple[str, ...] = ()) -> Session:
    """A session by what the index in `folder` was built by, and by what the command line names itself."""
    made = with_index(session, folder, leave)
    made.check()
    return made


def open_index(index: Index, folder: Path, expected: Mapping[str, Any], dim: int) -> Index:
    """Load a saved index into an empty one of its kind; refuse it where it was made from something else."""
    wanted = {key: value for key, value in expected.items() if key not in TOLD}
    index.load(folder, {**wanted, "dim": dim, "metric": "inner_product"})
    return index


def gallery_in(session: Session, folder: Path, direction: Direction, wanting: Sequence[str] = ()) -> Gallery:
    """The gallery of a saved index. Its items are looked up in the data set that it was built over, where that can be read;
    `wanting` is what, besides rerankers, can do nothing without it, as KEY=VALUE."""
    facts = made_from(folder)
    prompt = session.build("prompt").choose(tuple(facts["fields"])) if facts.get("fields") else None
    backbone = session.backbone.facing(direction)
    expected = of_backbone(backbone, session.encoder) | {"prompt": prompt_facts(prompt)}
    expected["gallery"] = wanted = "pictures" if direction == "t2i" else "texts"
    held = facts.get("gallery", "pictures")
    if held != wanted:
        told = f"it finds find={held}; for {wanted} build one by task=index_build gallery={wanted}"
        raise ConfigError(f"index_dir={folder} is an index of {held}: {told}")
    index = open_index(session.index_to_load(), folder, expected, backbone.dim)
    known_of = searched_of(collection_of_index(session), direction, index.ids)
    catalogue = Catalogue(known_of, direction, prompt.render if prompt is not None else None)
    check_count(folder, index, catalogue)
    check_pictures(session, folder, catalogue, wanting)
    known = KeptColumns(folder, str(facts[COLUMNS])) if facts.get(COLUMNS) else None
    return Gallery(direction, index, catalogue, None, str(facts.get("data")), prompt, known)


def collection_of_index(session: Session) -> Collection | None:
    """The data set that the index was built over, nothing encoded; None, with a word, where it cannot be read."""
    try:
        collection: Collection = session.build("data").read()
    except UserError as error:
        if any(key == "data" or key.startswith("data.") for key in named_keys()):
            raise
        log.warning("the data set of the index cannot be read, so items are shown by their ids alone: %s", error)
        return None
    return collection


def searched_of(collection: Collection | None, direction: Direction, ids: Sequence[str]) -> Collection | None:
    """What the data set says of the items of an index, without those that were taken out of it or lie in another part: they are
    not to be shown. All of it where the index holds nothing of it."""
    if collection is None:
        return None
    searched, known = set(ids), collection.picture_ids if direction == "t2i" else collection.text_ids
    rows = np.array([i for i, name in enumerate(known) if name in searched], np.int64)
    if len(rows) in (0, len(known)):
        return collection
    return collection.take(rows) if direction == "t2i" else collection.with_texts(rows)


def check_count(folder: Path, index: Index, catalogue: Catalogue) -> None:
    """Where the command line names a data set, the index must hold as many of its items as it holds at all."""
    if catalogue.collection is None or "data" not in named_keys():
        return
    unknown = [item for item in index.ids if item not in catalogue]
    if unknown:
        raise ConfigError(
            f"index_dir={folder} does not fit data={catalogue.collection.name}: count: {len(unknown)} of "
            f"its {len(index.ids)} items are not in the data set, for example {unknown[0]!r}; leave data out"
        )


def check_pictures(session: Session, folder: Path, catalogue: Catalogue, wanting: Sequence[str]) -> None:
    """Raise `ConfigError` where the data set cannot be read, but a reranker or what else is `wanting` needs it."""
    if catalogue.collection is not None:
        return
    wanted = [*(f"reranker={name}" for name, weight in session.rerankers.weights.items() if weight), *wanting]
    if wanted:
        needs = f"{' and '.join(wanted)} needs it; name it: data=..."
        raise ConfigError(f"index_dir={folder}: its data set cannot be read, and {needs}")
