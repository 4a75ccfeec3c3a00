"""What a config will need: its data, the parts at work, files that it names, keys, the machine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from picdesk.assembly.allowed import class_of
from picdesk.assembly.build import TARGET
from picdesk.assembly.checkpoints import locate
from picdesk.assembly.inherit import with_checkpoint
from picdesk.assembly.schema import CONF
from picdesk.assembly.session import Session
from picdesk.embedding.forward import check_device
from picdesk.errors import DataError, MissingFileError, UserError
from picdesk.needs import Need, SaysNeeds, file_need, in_gb, package_need, variable_need
from picdesk.training.checkpoint import Checkpoint, check

MISSING = "???"
FLOAT32 = 2  # a checkpoint is often half precision on disk, and float32 in memory


def needs_of(session: Session, files: Mapping[str, str]) -> list[Need]:
    """Everything, in the order in which a job would come upon it; `files` are those that its task is given, by key.

    What the checkpoint brings, its backbone and its data set, counts as the config's own.
    """
    given = [file_need(name, key, "what it names") for key, name in files.items()]
    session, checkpoints = with_checkpoint_needs(session)
    found = [*of_data(session), *of_parts(session), *given, *checkpoints, *of_logger(session)]
    weights = sum(need.size or 0 for need in found if need.there and "data" not in need.key)
    return [
        *found,
        *of_machine(session.settings.encode.device, session.store, weights),
        *of_engine(session.settings.encode.engine),
    ]


def of_published(names: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[dict[str, Any], list[Need]]]:
    """The plain config of each published evaluation as it would run here, and what its data and its parts need."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name in names:
            cfg = compose("evaluate", overrides=[f"experiment={name}", *overrides])
            told: Any = OmegaConf.to_container(cfg.expected, resolve=True)
            session = Session(cfg)
            yield {"expected": told, "source": str(cfg.source)}, [*of_data(session), *of_parts(session)]


def of_data(session: Session) -> list[Need]:
    """The folder of the data set and the files that its config names."""
    node = session.as_far_as_known("data") or {}
    root = str(node.get("root", MISSING))
    obtain = session.settings.obtain or ""
    if MISSING in root:
        return [Need("data.root", "the folder of the data set", False, remedy="give data.root=DIR")]
    place = file_need(root, "data.root", "the folder of the data set", obtain)
    found = [place if place.there else replace(place, size=size_told(obtain))]
    for key in ("file", "folder", "captions"):
        value = node.get(key)
        if isinstance(value, str):
            told = "give" if MISSING in value else ""
            found.append(
                Need(f"data.{key}", "a file of the data set", False, remedy=f"give data.{key}=NAME")
                if told
                else file_need(first_of(Path(root), value), f"data.{key}", "a part of the data set", obtain)
            )
    return found


def size_told(obtain: str) -> int | None:
    """Bytes of the pictures, where the text about where to get them says how large they are: `6 GB of pictures`."""
    found = re.search(r"([\d.]+) GB of pictures", obtain)
    return round(float(found[1]) * 2**30) if found else None


def first_of(root: Path, name: str) -> Path:
    """A file of the data set; of a pattern such as `*.parquet` the first that fits, or the pattern where none does."""
    return next(iter(sorted(root.expanduser().glob(name))), root / name) if "*" in name else root / name


def of_parts(session: Session) -> list[Need]:
    """What backbone, index and the rerankers at work say that they need."""
    plugins = session.plugins
    found = [need for key in ("backbone", "index") for need in of_node(session.as_far_as_known(key), key, plugins)]
    node = session.as_far_as_known("reranker")
    for name, weight in session.rerankers.weights.items():
        if weight:
            place = f"reranker.parts.{name}" if "parts" in node else "reranker"
            found += of_node(node["parts"][name] if "parts" in node else node, place, plugins)
    return found


def of_node(node: Any, key: str, plugins: Sequence[str]) -> list[Need]:
    """What the class of a node, and those of the nodes inside it, say that they need."""
    if not isinstance(node, dict):
        return []
    inner = [need for name, own in node.items() for need in of_node(own, f"{key}.{name}", plugins)]
    if TARGET not in node:
        return inner
    open_ones = [name for name, value in node.items() if value == MISSING]
    if open_ones:
        return [*(Need(f"{key}.{n}", "a value", False, remedy=f"give {key}.{n}=VALUE") for n in open_ones), *inner]
    kind = class_of(node[TARGET], key, plugins)
    return [*(kind.needs(key, node) if isinstance(kind, SaysNeeds) else []), *inner]


def with_checkpoint_needs(session: Session) -> tuple[Session, list[Need]]:
    """The session with what its checkpoint brings, and the checkpoints that it and its rerankers need."""
    needs: list[Need] = []

    def look(key: str, ckpt: str, outputs: Path) -> Checkpoint | None:
        needs.append(checkpoint_need(key, ckpt, outputs))
        return Checkpoint(Path(needs[-1].place)) if needs[-1].there else None

    return Session(*with_checkpoint(session.cfg, look)), needs


def checkpoint_need(key: str, ckpt: str, outputs: Path) -> Need:
    """A checkpoint by its place, `latest` or `best`; one that is damaged is as good as missing."""
    try:
        found = locate(ckpt, outputs)
        check(found)
    except (MissingFileError, DataError) as error:
        return Need(key, "the checkpoint", False, remedy=str(error))
    return Need(key, "the checkpoint", True, str(found.path), found.path.stat().st_size)


def of_logger(session: Session) -> list[Need]:
    """A key, where wandb is to be asked online."""
    node = session.as_far_as_known("logger") or {}
    if str(node.get("mode", "")) != "online":
        return []
    return [variable_need(["WANDB_API_KEY"], "logger.mode", "the key of wandb")]


def of_engine(engine: str) -> list[Need]:
    """The package of another engine than torch."""
    return [package_need(engine, f"encode.engine={engine}", "'picdesk[openvino]'")] if engine == "openvino" else []


def of_machine(device: str, folder: Path, weights: int) -> list[Need]:
    """The device, memory for the weights, and room for the store in `folder`."""
    try:
        check_device(device)
        found = [Need("encode.device", f"the device {device}", True)]
    except UserError as error:
        found = [Need("encode.device", f"the device {device}", False, remedy=str(error))]
    free = memory_free()
    if free is not None:
        wanted = weights * FLOAT32
        remedy = "" if wanted <= free else f"{in_gb(wanted)} of weights in float32 for {in_gb(free)} that are free"
        found.append(
            Need("encode.device", "main memory", wanted <= free, f"{in_gb(free)} free", wanted or None, remedy)
        )
    store = folder.expanduser()
    there = next(place for place in [store.resolve(), *store.resolve().parents] if place.exists())
    room = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    remedy = "" if writable else "give paths.store=DIR where you may write"
    return [
        *found,
        Need("paths.store", "a place for the store", writable, f"{store}, {in_gb(room)} free", None, remedy),
    ]


def memory_free() -> int | None:
    """Bytes of main memory that are free, where the system tells."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    told = next((line for line in lines if line.startswith("MemAvailable:")), "")
    return int(told.split()[1]) * 1024 if told else None
