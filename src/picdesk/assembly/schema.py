"""The dataclass schema of the task scalars, and the interpolations that `conf/` uses. Imports nothing heavy."""

from __future__ import annotations

import copy
import functools
import hashlib
import os
import platform
import re
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from picdesk.assembly.shelf import own_sweep, take_or_make
from picdesk.errors import ConfigError, first_line, refuse_nan
from picdesk.home import PROJECT, at_door

CONF = PROJECT / "conf"
OF_EVERY_TASK = ("_target_", "name", "door")


@dataclass
class Encode:
    """How trunk features are made."""

    batch_size: int = 32
    workers: int = 2
    precision: str = "auto"
    device: str = "cpu"
    fast_decode: bool = False
    storage: str = "float32"
    max_pixels: int = 50_000_000
    engine: str = "torch"


@dataclass
class Training:
    """What of training is no part of its own."""

    batch_size: int = 128
    sampler: str = "auto"
    chunk: int = 0
    logits_block: int = 1024
    state_seconds: float = 60.0


@dataclass
class Bootstrap:
    """Error bars: how many resamples of the pictures, how wide the interval."""

    resamples: int = 10000
    level: float = 0.95


@dataclass
class Metrics:
    """Which metrics are reported (`picdesk.measures.listing`, or all), at which cut-offs; over how many folds of the pictures
    besides (0: none; 5 is COCO's protocol of 1,000 pictures); by which fields of the texts queries are parted."""

    names: list[Any] = field(default_factory=lambda: ["hits", "recall", "mrr", "median_rank", "mean_rank"])
    ks: list[Any] = field(default_factory=lambda: [1, 5, 10])
    folds: int = 0
    slices: list[Any] = field(default_factory=list)


@dataclass
class Settings:
    """The scalars that every task reads, typed: what a session hands on. `task` is the name of the task, whose own values are
    those of its class (`conf/task/NAME.yaml`)."""

    task: str = ""
    plugins: list[Any] = field(default_factory=list)
    network: bool | None = None
    seed: int = 0
    part: str = "test"
    check: str = "quick"
    ckpt: str | None = None
    filter: str | None = None
    min_score: float | None = None
    top_k: int = 100
    run_depth: int = 20
    share: float = 0.5
    shown: int = 5
    encode: Encode = field(default_factory=Encode)
    training: Training = field(default_factory=Training)
    metrics: Metrics = field(default_factory=Metrics)
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    skip_completed: bool = False
    expected: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.001
    source: str | None = None
    protocol: dict[str, str] = field(default_factory=dict)
    obtain: str | None = None
    choices: dict[str, str] = field(default_factory=dict)


@dataclass
class Whole(Settings):
    """The scalars, and the groups: nodes with a `_target_`."""

    task: Any = MISSING
    paths: Any = MISSING
    data: Any = MISSING
    split: Any = MISSING
    forget_on: Any = MISSING
    prompt: Any = MISSING
    backbone: Any = MISSING
    adaptation: Any = MISSING
    augmentation: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    trainer: Any = MISSING
    callbacks: Any = MISSING
    index: Any = MISSING
    scores: Any = MISSING
    reranker: Any = MISSING
    fusion: Any = MISSING
    language_model: Any = MISSING
    writing: Any = MISSING
    logger: Any = MISSING


def typed_settings(cfg: DictConfig) -> Settings:
    """The scalars of a config as typed settings. Raises `ConfigError` for a value of another kind than the schema's."""
    given = {name: resolved_value(cfg, name) for name in (one.name for one in fields(Settings)) if name in cfg}
    given["task"] = task_name(cfg)
    return copy.deepcopy(take_or_make("settings", repr(given), lambda: settings_of_values(given)))


def settings_of_values(given: dict[str, Any]) -> Settings:
    """Plain values as typed settings. Raises `ConfigError` for one of another kind than the schema's."""
    try:
        made = OmegaConf.to_object(OmegaConf.merge(empty_settings(), given))
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error, most=None)) from None
    assert isinstance(made, Settings)
    if made.encode.max_pixels < 1:
        raise ConfigError(f"encode.max_pixels={made.encode.max_pixels}: a number of pixels is wanted, 1 at least")
    refuse_nan(asdict(made), "")
    return made


@functools.cache
def empty_settings() -> DictConfig:
    """What settings are merged into; made once, as `OmegaConf.merge` copies it."""
    made: DictConfig = OmegaConf.structured(Settings)
    return made


def task_name(cfg: DictConfig) -> str:
    """The name of the task; older configs say nothing else of it."""
    return str(cfg.task.get("name") if OmegaConf.is_dict(cfg.task) else cfg.task)


def resolved_value(cfg: DictConfig, name: str) -> Any:
    """One value, or one node as plain values."""
    value = cfg[name]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def table_wanted(key: str) -> str:
    """What to say where a table belongs under a key."""
    return f"a table is wanted, as in {key}={{NAME: VALUE}}"


def top_keys() -> set[str]:
    """Keys and groups at the top of the config."""
    return {one.name for one in fields(Whole)} | {"experiment", "hparams_search", "hydra"}


@functools.cache
def task_keys() -> dict[str, tuple[str, ...]]:
    """The values that each task of `conf/task/` takes, by its name; they stand below `task.`, and need not be typed so."""
    found = {path.stem: OmegaConf.load(path) for path in sorted((CONF / "task").glob("*.yaml"))}
    return {name: tuple(str(key) for key in node if key not in OF_EVERY_TASK) for name, node in found.items()}


def several_rerankers() -> set[str]:
    """The rerankers that `reranker=several` has among its parts without being told."""
    listed: Any = OmegaConf.to_container(OmegaConf.load(CONF / "reranker" / "several.yaml"))
    return {name for entry in listed["defaults"] if isinstance(entry, str) for name in entry.split("@")[:1]}


def tasks_of(door: str) -> dict[str, str]:
    """The tasks of a door, each with the first line of its file, which says what it is for."""
    files = [path for path in sorted((CONF / "task").glob("*.yaml")) if OmegaConf.load(path).door == door]
    return {path.stem: path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for path in files}


def refuse_other_door(name: str, own: str, door: str) -> None:
    """Raise `ConfigError` where a task, whose `own` door that is, is asked for at another."""
    if own != door:
        raise ConfigError(f"task={name}: a task of {own}.py; choose one of {', '.join(tasks_of(door))}")


def tasks_told(door: str) -> str:
    """The lines of `--help` about the tasks of a door."""
    return "\n".join(f"  {name:<15} {what}" for name, what in tasks_of(door).items())


def conf_keys() -> set[str]:
    """`group.key` for every key that some option of a group has."""
    found: set[str] = set()
    for path in CONF.glob("*/*.yaml"):
        if path.parent.name not in ("experiment", "hparams_search", "hydra"):
            lines = path.read_text(encoding="utf-8").splitlines()
            found |= {f"{path.parent.name}.{match[1]}" for line in lines if (match := re.match(r"([a-z]\w*):", line))}
    return {key for key in found if not key.endswith(".defaults")}


def job_tag() -> str:
    """What no other job has, though it start in the same second: its process number, and four hex digits of machine and time."""
    moment = f"{platform.node()}:{time.time_ns()}".encode()
    return f"{os.getpid():x}-{hashlib.blake2b(moment, digest_size=2).hexdigest()}"


def env_folder(variable: str, default: str) -> str:
    """The folder that an environment variable names, `~` written out; the default where it is not set, or empty, as a script
    leaves it whose own variable is not set: without a name every folder would be made at the root of the disk."""
    return os.path.expanduser(os.environ.get(variable, "").strip()) or default  # noqa: PTH111


def job_dir(task: Any, fresh: str) -> str:
    """The folder of a single job: that of the stopped job that it goes on with (`resume`), else a new one."""
    resume = task.get("resume")
    stopped = Path(str(resume)).expanduser() if resume else None
    return str(stopped) if stopped and (stopped / "resume").is_dir() else fresh


def job_folder(overrides: str) -> str:
    """The folder of one job of a sweep: its overrides in short, and six hex digits over them.

    It does not depend on the job's number, so a sweep that is extended and started again finds the jobs it has done.
    """
    pairs = [pair.partition("=") for pair in overrides.split(",") if pair]
    words = [f"{key.rpartition('.')[2]}-{value.rstrip('/').rpartition('/')[2]}" for key, _, value in pairs]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words))[:120].strip("-._")
    return f"{readable or 'job'}-{hashlib.blake2b(overrides.encode(), digest_size=3).hexdigest()}"


def run_name(folder: str, outputs: str) -> str | None:
    """What a wandb run is called: in a sweep by the folder of its job, which has the overrides in it, else by its place below the
    outputs. None where WANDB_NAME says it."""
    if os.environ.get("WANDB_NAME"):
        return None
    return Path(folder).name if own_sweep() else place_below(Path(folder), outputs)


def run_group(outputs: str) -> str | None:
    """What a wandb run stands with: the other jobs of its sweep. None where WANDB_RUN_GROUP says it, and without a sweep."""
    sweep = own_sweep()
    return None if os.environ.get("WANDB_RUN_GROUP") or sweep is None else place_below(sweep, outputs)


def place_below(folder: Path, outputs: str) -> str:
    """A folder's place below the outputs; its own name where it lies elsewhere."""
    inside, root = folder.resolve(), Path(outputs).resolve()
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else inside.name


def register() -> None:
    """Make the schema and the resolvers known to Hydra; done once, before a config is composed."""
    ConfigStore.instance().store(name="schema", node=Whole)
    OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True, use_cache=True)
    OmegaConf.register_new_resolver("env_folder", env_folder, replace=True)
    OmegaConf.register_new_resolver("job_tag", job_tag, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("job_dir", job_dir, replace=True)
    OmegaConf.register_new_resolver("tasks", tasks_told, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("door", at_door, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("run_group", run_group, replace=True)


register()
