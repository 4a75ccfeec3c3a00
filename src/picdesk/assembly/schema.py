"""The dataclass schema of the task scalars, and the interpolations that `conf/` uses. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from picdesk.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[3]
CONF = PROJECT / "conf"


@dataclass
class Encode:
    """How trunk features are made."""

    batch_size: int = 32
    workers: int = 2
    precision: str = "fp32"
    device: str = "cpu"
    fast_decode: bool = False
    storage: str = "float32"
    max_pixels: int = 50_000_000


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
class Agreement:
    """`task=agreement`: the file of people's judgments, its form (table, pairs, expert, crowdflower) and its columns."""

    file: str | None = None
    form: str = "table"
    text_column: str = "text"
    picture_column: str = "picture"
    rating_column: str = "rating"
    other_column: str = "other"


@dataclass
class Tune:
    """`task=tune_index`: the search settings to try (none: the index's own ladders), and how many single queries to time."""

    settings: list[Any] = field(default_factory=list)
    queries: int = 1000


@dataclass
class TuneWeights:
    """`task=tune_weights`: the part to choose on, by which metric and rule (one_se, paired, best), in how many steps."""

    part: str = "val"
    metric: str = "t2i/hits@1"
    rule: str = "one_se"
    steps: int | None = None


@dataclass
class Submission:
    """A MediaEval submission folder, written where `group` is given; `size` is the gallery (LARGE or SMALL) in edition 2025.

    In edition 2026 pictures are cut to 460x260 by `crop` (similar, centre); `other_runs` is a folder with the runs that were
    made before, whose picture of an article is not taken again.
    """

    group: str | None = None
    approach: str = "picdesk"
    size: str = "SMALL"
    edition: int = 2025
    crop: str = "similar"
    other_runs: str | None = None


@dataclass
class Serve:
    """`serve.py`: where it listens, who may ask, and how much.

    `host` other than this machine's own needs `token_file` (a file whose first line every client must know) or `open`. `hosts`
    are further names it may be called by. Of one request: at most `texts` texts of `characters` each, `most` items listed, a body
    of `body_mb`, `timeout_s` from its first byte to its last. `rate` is how many searches a second one client may ask (0: any).
    Questions that wait are encoded together, at most `batch_ms` after the first. `cache_mb` are for answers, and as many for
    small pictures. `examples` is a file of queries that the page shows; up to `fold` pictures are compared after the start, so
    that near-duplicates can be folded into one (0: none). Answers to a stop are finished for `drain_s`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: str | None = None
    open: bool = False
    hosts: list[Any] = field(default_factory=list)
    most: int = 200
    texts: int = 64
    characters: int = 5000
    body_mb: float = 20.0
    rate: float = 50.0
    timeout_s: float = 30.0
    batch_ms: float = 2.0
    cache_mb: float = 64.0
    examples: str | None = None
    fold: int = 20_000
    drain_s: float = 8.0


@dataclass
class Settings:
    """Every scalar that a door reads, typed: what a session hands on, below which there is no config."""

    task: str = MISSING
    plugins: list[Any] = field(default_factory=list)
    network: bool | None = None
    seed: int = 0
    part: str = "test"
    check: str = "quick"
    ckpt: str | None = None
    resume: str | None = None
    run_file: str | None = None
    qrels_file: str | None = None
    query: str | None = None
    image: str | None = None
    also: list[Any] = field(default_factory=list)
    find: str | None = None
    filter: str | None = None
    queries: str | None = None
    save_index: str | None = None
    index_dir: str | None = None
    gallery: str = "pictures"
    on_disk: bool = False
    ids: list[Any] = field(default_factory=list)
    subset: str | None = None
    submission: Submission = field(default_factory=Submission)
    captions_file: str | None = None
    min_score: float | None = None
    top_k: int = 100
    run_depth: int = 20
    shown: int = 5
    encode: Encode = field(default_factory=Encode)
    training: Training = field(default_factory=Training)
    agreement: Agreement = field(default_factory=Agreement)
    metrics: Metrics = field(default_factory=Metrics)
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    tune: Tune = field(default_factory=Tune)
    tune_weights: TuneWeights = field(default_factory=TuneWeights)
    skip_completed: bool = False
    dir: str | None = None
    against: str | None = None
    reproduce: str | None = None
    expected: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.001
    source: str | None = None
    protocol: dict[str, str] = field(default_factory=dict)
    obtain: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    serve: Serve = field(default_factory=Serve)


@dataclass
class Task(Settings):
    """The scalars, and the groups: nodes with a `_target_`."""

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


def typed(cfg: DictConfig) -> Settings:
    """The scalars of a config as typed settings. Raises `ConfigError` for a value of another kind than the schema's."""
    given = {name: resolved_value(cfg, name) for name in (one.name for one in fields(Settings)) if name in cfg}
    try:
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), given))
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    assert isinstance(made, Settings)
    return made


def resolved_value(cfg: DictConfig, name: str) -> Any:
    """One value, or one node as plain values."""
    value = cfg[name]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def top_keys() -> set[str]:
    """Keys and groups at the top of the config."""
    return {one.name for one in fields(Task)} | {"experiment", "hparams_search", "hydra"}


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


def job_dir(resume: str | None, fresh: str) -> str:
    """The folder of a single job: that of the stopped job that it goes on with, else a new one."""
    stopped = Path(resume).expanduser() if resume else None
    return str(stopped) if stopped and (stopped / "resume").is_dir() else fresh


def job_folder(overrides: str) -> str:
    """The folder of one job of a sweep: its overrides in short, and six hex digits over them.

    It does not depend on the job's number, so a sweep that is extended and started again finds the jobs it has done.
    """
    pairs = [pair.partition("=") for pair in overrides.split(",") if pair]
    words = [f"{key.rpartition('.')[2]}-{value.rstrip('/').rpartition('/')[2]}" for key, _, value in pairs]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words))[:120].strip("-._")
    return f"{readable or 'job'}-{hashlib.blake2b(overrides.encode(), digest_size=3).hexdigest()}"


def register() -> None:
    """Make the schema and the resolvers known to Hydra; done once, before a config is composed."""
    ConfigStore.instance().store(name="schema", node=Task)
    OmegaConf.register_new_resolver("project", lambda: str(PROJECT), replace=True, use_cache=True)
    OmegaConf.register_new_resolver("job_tag", job_tag, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("job_dir", job_dir, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


register()
