"""Open a system from Python: a job, a checkpoint, `latest`, a saved index, an .npz file or the name of a backbone.

A server opens the same by its config, and opens it again when it is told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from picdesk.assembly import saved_index
from picdesk.assembly.command_line import in_tasks, is_override, one_line, refuse, with_plugin_options
from picdesk.assembly.named import as_typed, plain_options, use_overrides
from picdesk.assembly.quoting import quoted_override
from picdesk.assembly.replaced import without_replaced
from picdesk.assembly.schema import CONF, register, task_keys, top_keys
from picdesk.assembly.session import Session
from picdesk.collection import Fields
from picdesk.data.facts import PictureFacts
from picdesk.errors import ConfigError, short_repr
from picdesk.interfaces import Direction
from picdesk.readers.arrays import load_arrays
from picdesk.retrieval.dataset import QUERY_FIELDS, Dataset
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.searcher import Find, Searcher
from picdesk.search.open_saved import made_from, note_in
from picdesk.search.own_files import HEADER

ASKED = {"query": "TEXT", "image": "picture=FILE", "filter": "filter=WHERE"}
"""What a door is asked by, and how a system in Python is."""


def load(source: str | Path = "latest", *overrides: str, part: str = "all", data: Dataset | None = None) -> Searcher:
    """A system that is ready to be asked.

    `source` is the output dir of a training job, a checkpoint, `latest` (the newest below `outputs`), the folder of a saved
    index, an .npz file of embeddings, or the name of a backbone (`lite`, `vit_b_32_openai`, ...). `overrides` are those of the
    command line, such as `reranker=captions`, `index=hnsw` or `paths.outputs=DIR`. What is searched is `part` of the data set
    that the checkpoint was trained on, or of `data`. Raises `UserError` saying what is wrong, as the doors do.
    """
    named, folder = overrides_for(str(source))
    refuse([text for text in map(str, overrides) if not is_override(text, (), takes_text=False)])
    if not isinstance(data, Dataset | None):
        raise ConfigError(
            f"data={short_repr(data)}: a picdesk.Dataset is needed, such as Dataset.from_folder(FOLDER) gives"
        )
    refuse_questions(map(str, overrides))
    given_here = [quoted_override(f"part={part}", sweep=False)]
    given_here += [quoted_override(str(given), sweep=False) for given in overrides]
    named = in_tasks([*named, *given_here], top_keys(), task_keys())
    try:
        with use_overrides(named):
            start = Session(compose_config(named)).with_plugins()
            session = saved_index.session_of(start, folder) if folder else start.open(whole=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    if data is not None:
        session.dataset = data
    return searcher_of(session, folder, str(source))


def refuse_questions(overrides: Iterable[str]) -> None:
    """Raise `ConfigError` for a key that the doors ask by: a system that is loaded would not heed it."""
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").removeprefix("task.")
        if key == "index_dir":
            raise ConfigError(f"{override}: a saved index is loaded by its folder: picdesk.load(FOLDER)")
        if key in ASKED or key in task_keys()["retrieve"]:
            raise ConfigError(f"{override}: a system that is loaded is asked by search({ASKED.get(key, '...')})")


def searcher_of(session: Session, folder: Path | None, name: str) -> Searcher:
    """What answers for a session: over its data set, or over the saved index in `folder`."""

    def open_gallery(direction: Direction) -> Gallery:
        if folder is not None:
            return saved_index.gallery_in(session, folder, direction)
        return session.system.gallery(session.dataset, session.part, direction)

    return Searcher(
        session.system,
        open_gallery,
        rendering_of(session, folder is not None),
        None if folder else lambda: session.dataset,
        name,
    )


def rendering_of(session: Session, of_index: bool = False) -> Callable[[Fields], str]:
    """How a text from outside is written before it is encoded where the data set has no prompt: by that of the config; as it
    stands for a saved index, which would say if it had one."""

    @cache
    def prompt() -> Any:
        return session.build("prompt").choose(QUERY_FIELDS)

    def render(fields: Fields) -> str:
        return str(fields["caption"] if of_index else prompt().render(fields))

    return render


@dataclass(frozen=True)
class Opened:
    """What a server answers with: the searcher, what it was made by (`weights`, `data`), what is known of its pictures, the
    overrides by which `retrieve.py` opens the same, and what encodes what it would find into the store, by a model of its own,
    so that this one can be asked meanwhile; None where nothing is encoded."""

    searcher: Searcher
    weights: dict[str, str]
    data: Callable[[], dict[str, str]]
    facts: PictureFacts | None
    same: tuple[str, ...]
    encode_ahead: Callable[[Find], object] | None = None


class Source:
    """What a server opens as often as it is told to: each time as the files are then, by the config of a session or, with
    `index_dir`, by the index that lies there."""

    def __init__(self, session: Session, index_dir: str | None = None) -> None:
        self.settings, self.index_dir = session.settings, index_dir
        self._session, self._named = session, tuple(as_typed())

    def open(self) -> Opened:
        """A searcher over the data set or the saved index. Raises `UserError` for what cannot be opened, or does not fit."""
        with use_overrides(self._named):
            folder = saved_index.folder_of(self.index_dir) if self.index_dir else None
            session, searcher = self._open_searcher(folder)
            searcher.gallery("pictures" if folder is None else kind_of(folder))
        known = session.encoder.digests
        facts = known if isinstance(known, PictureFacts) else None

        def data() -> dict[str, str]:
            return {} if folder else session.fingerprint(session.part)

        weights = session.weights() | session.rerankers.contents()
        encodes = folder is None and not session.backbone.knows_given_alone
        ahead = self._encode_ahead if encodes else None
        return Opened(searcher, weights, data, facts, self._same_overrides(session), ahead)

    def _open_searcher(self, folder: Path | None) -> tuple[Session, Searcher]:
        start = self._session
        session = saved_index.session_of(start, folder) if folder else start.open(whole=True, asked=True)
        name = str(self.index_dir or self.settings.ckpt or session.backbone.name)
        return session, searcher_of(session, folder, name)

    def _encode_ahead(self, find: Find) -> None:
        with use_overrides(self._named):
            self._open_searcher(None)[1].gallery(find)

    def _same_overrides(self, session: Session) -> tuple[str, ...]:
        """The overrides that open the same in `retrieve.py`: those of this command but for what is a server's own."""
        own = (
            "task",
            "hydra",
            "logger",
            "top_k",
            "run_depth",
            "min_score",
            "ckpt",
            "plugins",
        )  # `at_door` says the last
        kept = [one for one in self._named if one.lstrip("+~").partition("=")[0].split(".")[0] not in own]
        index = [f"index_dir={self.index_dir}"] if self.index_dir else []
        ckpt = [f"ckpt={session.checkpoint.path}"] if session.checkpoint and not index else []
        return (*ckpt, *index, *kept)


def kind_of(folder: Path) -> Find:
    """What a saved index finds."""
    return "texts" if made_from(folder).get("gallery") == "texts" else "pictures"


def overrides_for(source: str) -> tuple[list[str], Path | None]:
    """What a source means as overrides; the folder where it is a saved index. Raises `ConfigError` for what is nothing."""
    path = Path(source).expanduser()
    if path.is_dir() and ((path / HEADER).is_file() or note_in(path)):
        return [f"index_dir={quote_file_name(source)}"], path
    if path.suffix == ".npz" and path.is_file():
        place = [f"data.root={quote_file_name(str(path.parent))}", f"data.file={quote_file_name(path.name)}"]
        dim = width_of(path)
        return ["data=npz", *place, "split=all", "prompt=caption", "backbone=precomputed", f"backbone.dim={dim}"], None
    if source == "latest" or path.exists():
        return [f"ckpt={quote_file_name(source)}"], None
    known = sorted(option.stem for option in (CONF / "backbone").glob("*.yaml"))
    if source in known:
        return [f"backbone={source}"], None
    raise ConfigError(
        f"load({source!r}): no job, checkpoint, saved index or .npz there, and no backbone: {', '.join(known)}"
    )


def width_of(path: Path) -> int:
    """The length of the vectors of an .npz file. Raises `ConfigError` where it has none by the usual name."""
    arrays = load_arrays(path)
    if "image_embeddings" not in arrays or arrays["image_embeddings"].ndim != 2:
        raise ConfigError(f"load({path}): no matrix image_embeddings in it, but {', '.join(arrays)}")
    return int(arrays["image_embeddings"].shape[1])


def quote_file_name(text: str) -> str:
    """A file's name as Hydra's grammar reads it back unchanged."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """The config of `retrieve.py` with these overrides, and with the names of the options that they choose."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        words = with_plugin_options([*overrides, "logger=none"])
        cfg = compose("retrieve", overrides=words, return_hydra_config=True)
    with open_dict(cfg):
        hydra = cfg.pop("hydra")
        cfg.choices = plain_options(hydra.runtime.choices)
    return without_replaced(cfg, hydra)
