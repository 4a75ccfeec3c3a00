"""What makes two jobs the same: the settings that can change a number, the data, the weights and the code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import picdesk
from picdesk.files import digest_of

# Where things lie, how fast they are made, what is shown of them, and what is only said about them.
NOT_THE_JOB = (
    *("paths", "logger", "shown", "choices", "skip_completed", "dir", "reproduce", "resume"),
    *(
        "task.dir",
        "task.reproduce",
        "task.resume",
        "task.save_index",
        "task.index_dir",
        "task.run_file",
        "task.qrels_file",
    ),
    *("expected", "tolerance", "source", "protocol", "obtain", "plugins", "network"),
    *(
        "save_index",
        "index_dir",
        "ckpt",
        "run_file",
        "qrels_file",
        "data.root",
        "training.state_seconds",
        "encode.batch_size",
        "encode.workers",
        "encode.device",
    ),
)
NOT_THE_CODE = ("report", "serving")


def settings_of(plain: Mapping[str, Any]) -> dict[str, str]:
    """Every value of a config, given as plain values, that can change a number, by key, as JSON; interpolations unresolved.

    What is found by its content (data set, checkpoint, run) is left to the digests of that content, and of an absolute path
    only the last part counts, so that the settings are the same in another clone in another folder.
    """
    return {key: json.dumps(neutral(value)) for key, value in sorted(leaves(dict(plain)).items()) if not left_out(key)}


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and plain values of a nested dict; an empty dict is a value."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= leaves(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def left_out(key: str) -> bool:
    """Whether the key cannot change a number, or names what is known by its content."""
    return f"{key}.".startswith(tuple(f"{name}." for name in NOT_THE_JOB))


def neutral(value: Any) -> Any:
    """An absolute path without its folders."""
    if isinstance(value, list):
        return [neutral(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


def job_fingerprint(config: str, data: Mapping[str, str], weights: Mapping[str, str]) -> str:
    """Digest over settings (`config`: their own digest), data, weights and code: jobs that share it find the same."""
    parts = {key: value for key, value in weights.items() if key != "name"}
    return digest_of([config, dict(data), parts, source_digest()])


@cache
def source_digest() -> str:
    """SHA-256 over the package's Python files, less those that only show results."""
    root = Path(picdesk.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(tuple(f"{part}/" for part in NOT_THE_CODE)):
            digest.update(f"{name}:".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
