"""The best job of a board as an experiment file that Hydra composes again, and the commands that go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from picdesk.assembly.allowed import printable_value
from picdesk.assembly.quoting import as_config, plain_value
from picdesk.assembly.saved_config import is_own, may_be_repeated
from picdesk.errors import ConfigError
from picdesk.home import at_door
from picdesk.jobs.found import PRECISION, DoneJob, choices_of, config_value, value_of


def go_on(job: DoneJob) -> tuple[str, ...]:
    """The commands that go on with the best job: with its checkpoint where it left one, else by what it was asked."""
    file = job.folder / "checkpoint" / "model.safetensors"
    if not file.is_file():
        return (f"{at_door('evaluate')} reproduce={shlex.quote(str(job.folder))}",)
    named = f"ckpt={shlex.quote(str(file.parent.parent))}"
    return f"{at_door('evaluate')} {named}", f'{at_door("retrieve")} {named} "what you look for"'


def best_config(job: DoneJob, keys: Sequence[str] = ()) -> str:
    """The best job as an experiment file, ready to be put into conf/experiment, under the command that it came from; with the
    precision that its machine chose where that is among the `keys` in which jobs differ."""
    asked = {key: as_it_was(job, key, value) for key, value in job.overrides.items()}
    asked |= {key: value_of(job, key) for key in keys if key == PRECISION and key not in asked}
    values: dict[str, Any] = {}
    own = is_own(job.folder / "config.yaml")
    for key, value in asked.items():
        with suppress(ConfigError):  # what cannot be read here is left to the command line
            found = plain_value(value) if value == job.overrides.get(key) else value
            if may_be_repeated(key, value, own, found):
                values[key] = found
    door = "train" if job.manifest.task == "train" else "evaluate"
    command = shlex.join(["python", f"{door}.py", *(f"{key}={asked[key]}" for key in values)])
    choices = {"experiment", *choices_of(job)}
    groups = {key: value for key, value in values.items() if key in choices or "/" in key or "@" in key}
    try:
        scalars = as_config({key: value for key, value in values.items() if key not in groups})
    except ConfigError:  # of a job from elsewhere: a key that is a value and a table
        scalars, groups, values = "", {}, {}
    left_out = [printable_value(key) for key in job.overrides if key not in values]
    lines = ["# @package _global_", f"# {printable(command)}", *checkpoint_lines(job)]
    lines += [f"# left to the command line: {', '.join(left_out)}"] if left_out else []
    lines += default_lines(groups)
    return "\n".join([*lines, *scalars.splitlines()]) + "\n"


def default_lines(groups: Mapping[str, Any]) -> list[str]:
    """The defaults list: experiments that were chosen, from the root, as a file among them names others; then other groups."""
    own = groups.get("experiment", ())
    experiments = [f"/experiment/{name}" for name in (own if isinstance(own, list) else [own])] if own else []
    others = [f"override /{key}: {value}" for key, value in groups.items() if key != "experiment"]
    return ["defaults:", *(f"  - {line}" for line in (*experiments, *others))] if experiments or others else []


def as_it_was(job: DoneJob, key: str, value: str) -> str:
    """The value of an override; of a checkpoint that was asked for by a word (`latest`, `best`), the file that it was then."""
    if key.rpartition(".")[2] != "ckpt":
        return value
    return config_value(job, key) or value


def checkpoint_lines(job: DoneJob) -> list[str]:
    """Which checkpoint the best job left, or used, by path and digest."""
    file, digest = job.folder / "checkpoint" / "model.safetensors", job.manifest.weights.get("checkpoint")
    if not digest:
        return []
    where = f": {printable(str(file))}" if file.is_file() else ""
    return [f"# checkpoint{where} (SHA-256 {printable_value(digest)})"]


def printable(text: str) -> str:
    """Text for one line of a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
