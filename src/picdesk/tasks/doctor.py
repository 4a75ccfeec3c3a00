"""`evaluate.py task=doctor`: everything that the config will need, what is there and what is missing, before any data is read.

Exit status 0 if all is there, 1 if something is missing. Nothing is downloaded and nothing is encoded.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from picdesk.assembly.allowed import class_of
from picdesk.assembly.build import TARGET
from picdesk.assembly.schema import Settings
from picdesk.assembly.session import Session
from picdesk.embedding.forward import check_device
from picdesk.errors import UserError
from picdesk.files import write_json
from picdesk.needs import Need, file_need, variable_need
from picdesk.report.terminal import console

log = logging.getLogger(__name__)
FILES = ("queries", "subset", "index_dir", "captions_file", "image", "run_file", "qrels_file")
MISSING = "???"
FOUR_BYTES = 2  # a checkpoint is often half precision on disk, and float32 in memory


def doctor(cfg: DictConfig) -> float:
    """One job: a table on the terminal and `doctor.json`. Gives how many things are missing, by way of the exit status."""
    session = Session(cfg)
    found = [*of_data(session), *of_parts(session), *of_files(session.settings), *of_logger(session)]
    found = [
        *found,
        *of_machine(session, sum(need.size or 0 for need in found if need.there and "data" not in need.key)),
    ]
    folder = session.output_dir
    write_json(folder / "doctor.json", [asdict(need) for need in found])
    console().print(table_of(found))
    missing = [need for need in found if not need.there]
    for need in missing:
        log.error("missing: %s (%s): %s", need.what, need.key, need.remedy)
    log.info("%d things looked for, %d missing; %s", len(found), len(missing), folder / "doctor.json")
    if missing:
        raise SystemExit(1)
    return 0.0


def of_data(session: Session) -> list[Need]:
    """The folder of the data set and the files that its config names."""
    node = session.as_far_as_known("data") or {}
    root = str(node.get("root", MISSING))
    obtain = session.settings.obtain or ""
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


def of_parts(session: Session) -> list[Need]:
    """What backbone, index and the rerankers at work say that they need."""
    found = [need for key in ("backbone", "index") for need in of_node(session.as_far_as_known(key), key, session)]
    for name, weight in session.rerankers.weights.items():
        if weight:
            node = session.as_far_as_known("reranker")
            place = f"reranker.parts.{name}" if "parts" in node else "reranker"
            found += of_node(node["parts"][name] if "parts" in node else node, place, session)
    return found


def of_node(node: Any, key: str, session: Session) -> list[Need]:
    """What the class of a node, and those of the nodes inside it, say that they need."""
    if not isinstance(node, dict):
        return []
    inner = [need for name, own in node.items() for need in of_node(own, f"{key}.{name}", session)]
    if TARGET not in node:
        return inner
    open_ones = [name for name, value in node.items() if value == MISSING]
    if open_ones:
        return [*(Need(f"{key}.{n}", "a value", False, remedy=f"give {key}.{n}=VALUE") for n in open_ones), *inner]
    asked = getattr(class_of(node[TARGET], key, session.plugins), "needs", None)
    return [*(asked(key, node) if asked else []), *inner]


def of_files(settings: Settings) -> list[Need]:
    """Files that the command line names, and a checkpoint."""
    found = [file_need(value, key, "what it names") for key in FILES if (value := getattr(settings, key))]
    if settings.ckpt and settings.ckpt != "latest":
        found.append(file_need(settings.ckpt, "ckpt", "the checkpoint"))
    return found


def of_logger(session: Session) -> list[Need]:
    """A key, where wandb is to be asked online."""
    node = session.as_far_as_known("logger") or {}
    if str(node.get("mode", "")) != "online":
        return []
    return [variable_need(["WANDB_API_KEY"], "logger.mode", "the key of wandb")]


def of_machine(session: Session, weights: int) -> list[Need]:
    """The device, memory for the weights, and room for the store."""
    device = session.settings.encode.device
    try:
        check_device(device)
        found = [Need("encode.device", f"the device {device}", True)]
    except UserError as error:
        found = [Need("encode.device", f"the device {device}", False, remedy=str(error))]
    free = memory_free()
    if free is not None:
        wanted = weights * FOUR_BYTES
        remedy = "" if wanted <= free else f"{in_gb(wanted)} of weights in float32 for {in_gb(free)} that are free"
        found.append(
            Need("encode.device", "main memory", wanted <= free, f"{in_gb(free)} free", wanted or None, remedy)
        )
    store = session.store.expanduser()
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


def in_gb(size: int) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.1f} MB"


def table_of(found: list[Need]) -> Table:
    """One row a thing."""
    table = Table("", "what", "size", "where, or what to do", "key")
    for need in found:
        mark = "ok" if need.there else "MISSING"
        size = in_gb(need.size) if need.size is not None else ""
        table.add_row(mark, need.what, size, need.place if need.there else need.remedy, need.key)
    return table
