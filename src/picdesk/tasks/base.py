"""What a task is: a class of its own, whose fields are its values in `conf/task/NAME.yaml`, and what it does with a session."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from picdesk import network
from picdesk.assembly.named import with_task
from picdesk.assembly.schema import refuse_other_door
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Task(ABC):
    """What a door can be asked to do. `name` is that of its file in `conf/task/`, `door` the door that it is asked at.

    `takes_filter`: items are found, or scored, only where they fulfil `filter`; `takes_min_score`: what is less similar is left
    out; `takes_ckpt`: a checkpoint brings its weights, or the data that it was trained on;
    `leaves_out_folds`: it reports the metrics of all pictures at once, whatever `metrics.folds` says.
    """

    name: str
    door: str
    takes_filter: ClassVar[bool] = False
    takes_min_score: ClassVar[bool] = False
    takes_ckpt: ClassVar[bool] = True
    leaves_out_folds: ClassVar[bool] = False

    def opens_others(self) -> bool:
        """Whether it opens what other jobs left, which may be anybody's: then it uses no network unless it is told to."""
        return False

    @abstractmethod
    def run(self, session: Session) -> float | None:
        """Do the job. Gives its objective, which a sweep may choose by; None where it has none.

        `session` holds the settings, unchecked yet: `session.open()` checks every part, takes over what a checkpoint brings,
        and gives the session whose data set, backbone and system are built when they are asked for.
        """

    def next_step(self, folder: Path) -> str:
        """What a user does after this job, in a few words: a command, or the page that it left; "" where nothing follows."""
        page = folder / "index.html"
        return f"open {page}" if page.is_file() else ""


def task_of(session: Session, door: str) -> Task:
    """The task of a session. Raises `ConfigError` for one of another door."""
    try:
        found = session.build("task")
    except ConfigError as error:
        raise ConfigError(with_task(str(error), session.settings.task)) from None
    if not isinstance(found, Task):
        raise ConfigError(f"task._target_={session.target_of('task')}: no task; --help lists those of {door}.py")
    refuse_other_door(found.name, found.door, door)
    return found


def run(session: Session, task: Task) -> float | None:
    """Do what the task says; where the job may use no network, without one."""
    if session.settings.filter and not task.takes_filter:
        raise ConfigError(f"filter={session.settings.filter}: task={task.name} takes no filter")
    if session.settings.min_score is not None and not task.takes_min_score:
        told = (
            f"task={task.name} takes no min_score; retrieve.py, serve.py and task=captioner leave out what scores less"
        )
        raise ConfigError(f"min_score={session.settings.min_score:g}: {told}")
    if session.settings.ckpt is not None and not task.takes_ckpt:
        told = "leave it out" if task.opens_others() else "its data neither: leave it out, name data=NAME"
        told = f"task={task.name} takes nothing from a checkpoint, {told}"
        raise ConfigError(f"ckpt={session.settings.ckpt}: {told}")
    folds = session.settings.metrics.folds
    if folds and task.leaves_out_folds:
        log.warning("metrics.folds=%d: task=%s reports no folds; task=evaluate does", folds, task.name)
    allowed = session.settings.network
    closed = allowed is False or (task.opens_others() and not allowed)
    with network.no_network() if closed else nullcontext():
        return task.run(session)
