"""What a config will need: its data, the parts at work, files that it names, keys, the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from picdesk.assembly.allowed import class_of
from picdesk.assembly.build import TARGET, as_far_as_known, plugins_of
from picdesk.assembly.reranking import Rerankers
from picdesk.assembly.schema import CONF
from picdesk.embedding.forward import check_device
from picdesk.errors import UserError
from picdesk.needs import Need, file_need, in_gb, variable_need

FILES = ("queries", "subset", "index_dir", "captions_file", "image", "run_file", "qrels_file")
MISSING = "???"
FLOAT32 = 2  # a checkpoint is often half precision on disk, and float32 in memory


def needs_of(cfg: DictConfig) -> list[Need]:
    """Everything, in the order in which a job would come upon it."""
    found = [*of_data(cfg), *of_parts(cfg), *of_files(cfg), *of_logger(cfg)]
    return [*found, *of_machine(cfg, sum(need.size or 0 for need in found if need.there and "data" not in need.key))]


def of_published(names: Sequence[str], overrides: Sequence[str]) -> Iterator[tuple[dict[str, Any], list[Need]]]:
    """The plain config of each published evaluation as it would run here, and what its data and its parts need."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name in names:
            cfg = compose("evaluate", overrides=[f"experiment={name}", *overrides])
            told: Any = OmegaConf.to_container(cfg.expected, resolve=True)
            yield {"expected": told, "source": str(cfg.source)}, [*of_data(cfg), *of_parts(cfg)]


def of_data(cfg: DictConfig) -> list[Need]:
    """The folder of the data set and the files that its config names."""
    node = as_far_as_known(cfg, "data") or {}
    root = str(node.get("root", MISSING))
    obtain = str(cfg.obtain or "")
    if MISSING in root:
        return [Need("data.root", "the folder of the data set", False, remedy="give data.root=DIR")]
    found = [file_need(root, "data.root", "the folder of the data set", obtain)]
    for key in ("file", "folder", "captions"):
        value = node.get(key)
        if isinstance(value, str):
            told = "give" if MISSING in value else ""
            found.append(
                Need(f"data.{key}", "a file of the data set", False, remedy=f"give data.{key}=NAME")
                if told
                else file_need(Path(root) / value, f"data.{key}", "a part of the data set", obtain)
            )
    return found


def of_parts(cfg: DictConfig) -> list[Need]:
    """What backbone, index and the rerankers at work say that they need."""
    found = [need for key in ("backbone", "index") for need in of_node(as_far_as_known(cfg, key), key, cfg)]
    for name, weight in Rerankers(cfg).weights.items():
        if weight:
            place = f"reranker.parts.{name}" if "parts" in cfg.reranker else "reranker"
            node = as_far_as_known(cfg, "reranker")
            found += of_node(node["parts"][name] if "parts" in node else node, place, cfg)
    return found


def of_node(node: Any, key: str, cfg: DictConfig) -> list[Need]:
    """What the class of a node, and those of the nodes inside it, say that they need."""
    if not isinstance(node, dict):
        return []
    inner = [need for name, own in node.items() for need in of_node(own, f"{key}.{name}", cfg)]
    if TARGET not in node:
        return inner
    open_ones = [name for name, value in node.items() if value == MISSING]
    if open_ones:
        return [*(Need(f"{key}.{n}", "a value", False, remedy=f"give {key}.{n}=VALUE") for n in open_ones), *inner]
    asked = getattr(class_of(node[TARGET], key, plugins_of(cfg)), "needs", None)
    return [*(asked(key, node) if asked else []), *inner]


def of_files(cfg: DictConfig) -> list[Need]:
    """Files that the command line names, and a checkpoint."""
    found = [file_need(cfg[key], key, "what it names") for key in FILES if cfg.get(key)]
    if cfg.ckpt and cfg.ckpt != "latest":
        found.append(file_need(cfg.ckpt, "ckpt", "the checkpoint"))
    return found


def of_logger(cfg: DictConfig) -> list[Need]:
    """A key, where wandb is to be asked online."""
    node = as_far_as_known(cfg, "logger") or {}
    if str(node.get("mode", "")) != "online":
        return []
    return [variable_need(["WANDB_API_KEY"], "logger.mode", "the key of wandb")]


def of_machine(cfg: DictConfig, weights: int) -> list[Need]:
    """The device, memory for the weights, and room for the store."""
    device = str(cfg.encode.device)
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
    store = Path(str(cfg.paths.store)).expanduser()
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
