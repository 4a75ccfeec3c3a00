"""The config keys that the command line names, or a caller in Python does: read here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hydra.core.hydra_config import HydraConfig

_GIVEN: ContextVar[tuple[str, ...] | None] = ContextVar("given", default=None)


def as_typed() -> list[str]:
    """`key=value`, with the signs before it."""
    given = _GIVEN.get()
    if given is None:
        given = tuple(HydraConfig.get().overrides.task) if HydraConfig.initialized() else ()
    return list(given)


def overrides() -> list[str]:
    """`key=value` as it was typed, without the signs before it."""
    return [override.lstrip("+~") for override in as_typed()]


def named_keys() -> list[str]:
    """The keys alone."""
    return [override.partition("=")[0] for override in overrides()]


def options_chosen(choices: Mapping[Any, Any]) -> dict[str, str]:
    """The option of each group: as the command line has it, or as a caller in Python composed a config, by its `choices`."""
    noted = plain_options(choices)
    if not HydraConfig.initialized() or (noted and _GIVEN.get() is not None):
        return noted
    return plain_options(HydraConfig.get().runtime.choices)


def plain_options(chosen: Mapping[Any, Any]) -> dict[str, str]:
    """Those of the project's own groups."""
    return {
        str(group): str(option)
        for group, option in chosen.items()
        if option is not None and not str(group).startswith("hydra") and "." not in str(group)
    }


def with_task(text: str, task: str) -> str:
    """A line about a value of a task as it is typed: `serve.port=...`, where the config has `task.port`."""
    return (
        f"{task}.{text.removeprefix('task.')}" if text.startswith("task.") and not text.startswith("task._") else text
    )


def has_command_line() -> bool:
    """Whether there is a command line at all, or a caller who says what is named."""
    return _GIVEN.get() is not None or HydraConfig.initialized()


@contextmanager
def use_overrides(named: Sequence[str]) -> Iterator[None]:
    """Within, these overrides stand for the command line."""
    token = _GIVEN.set(tuple(named))
    try:
        yield
    finally:
        _GIVEN.reset(token)
