"""Open a system from Python: a job, a checkpoint, `latest`, a saved index, an .npz file or the name of a backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from picdesk.assembly import saved_index
from picdesk.assembly.command_line import in_tasks, with_its_sign, with_plugin_options
from picdesk.assembly.named import given
from picdesk.assembly.schema import CONF, register, task_keys, top_keys
from picdesk.assembly.session import Session
from picdesk.collection import Fields
from picdesk.errors import ConfigError
from picdesk.interfaces import Direction
from picdesk.readers.arrays import load_arrays
from picdesk.retrieval.dataset import QUERY_FIELDS, Dataset
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.searcher import Searcher
from picdesk.search.index_files import HEADER
from picdesk.search.saved import note_in


def load(source: str | Path = "latest", *overrides: str, part: str = "all", data: Dataset | None = None) -> Searcher:
    """A system that is ready to be asked.

    `source` is the output dir of a training job, a checkpoint, `latest` (the newest below `outputs`), the folder of a saved
    index, an .npz file of embeddings, or the name of a backbone (`lite`, `vit_b_32_openai`, ...). `overrides` are those of the
    command line, such as `reranker=captions`, `index=hnsw` or `paths.outputs=DIR`. What is searched is `part` of the data set
    that the checkpoint was trained on, or of `data`. Raises `UserError` saying what is wrong, as the doors do.
    """
    named, folder = overrides_for(str(source))
    given_here = [f"part={part}", *map(with_its_sign, overrides)]
    named = in_tasks([*named, *given_here], top_keys(), task_keys())
    with given(named):
        start = Session(composed(named)).with_plugins()
        session = saved_index.session_of(start, folder) if folder else start.opened(whole=True)
    if data is not None:
        session.dataset = data
    return searcher_of(session, folder, str(source))


def searcher_of(session: Session, folder: Path | None, name: str) -> Searcher:
    """What answers for a session: over its data set, or over the saved index in `folder`."""

    def opened(direction: Direction) -> Gallery:
        if folder is not None:
            return saved_index.gallery_in(session, folder, direction)
        return session.system.gallery(session.dataset, session.part, direction)

    return Searcher(session.system, opened, rendering_of(session), None if folder else lambda: session.dataset, name)


def rendering_of(session: Session) -> Callable[[Fields], str]:
    """How a text from outside is written before it is encoded: by the prompt of the config."""

    def render(fields: Fields) -> str:
        text: str = session.build("prompt").choose(QUERY_FIELDS).render(fields)
        return text

    return render


def overrides_for(source: str) -> tuple[list[str], Path | None]:
    """What a source means as overrides; the folder where it is a saved index. Raises `ConfigError` for what is nothing."""
    path = Path(source).expanduser()
    if path.is_dir() and ((path / HEADER).is_file() or note_in(path)):
        return [f"index_dir={quoted(source)}"], path
    if path.suffix == ".npz" and path.is_file():
        place = [f"data.root={quoted(str(path.parent))}", f"data.file={quoted(path.name)}"]
        dim = width_of(path)
        return ["data=npz", *place, "split=all", "prompt=caption", "backbone=precomputed", f"backbone.dim={dim}"], None
    if source == "latest" or path.exists():
        return [f"ckpt={quoted(source)}"], None
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


def quoted(text: str) -> str:
    """A file's name as Hydra's grammar reads it back unchanged."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config of `retrieve.py` with these overrides."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("retrieve", overrides=with_plugin_options([*overrides, "logger=none"]))
