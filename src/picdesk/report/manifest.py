"""`manifest.json`: all that a job's numbers depend on, and the digests of the files it left."""

import dataclasses
import re
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picdesk import marks
from picdesk.errors import DataError, MissingFileError
from picdesk.files import digest_of, file_digest, write_json
from picdesk.process.foreign_folders import links_out
from picdesk.report import provenance
from picdesk.report.metrics_file import MOST, read_json
from picdesk.report.provenance import Code, Stage, Stopwatch

FORM = 1
STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MARKED = "manifest.json: "
BESIDE = ("config.yaml", "metrics.json", "run.trec", "qrels.trec")


@dataclass(frozen=True)
class Manifest:
    """What a job was. `data`, `weights` and `config` are content fingerprints; `counts` says how many items were encoded,
    reused from the store and left out; `files` maps names beside the manifest to their SHA-256; `settings` are the config's
    values by key, as JSON, less those that cannot change a number; `fingerprint` is the same for two jobs that would find the
    same, `objective` is what a sweep chooses by and `measure` what that is; `compared` has a fit's metrics before it, and those
    on a second data set before and after; `choices` are the indexes that index=auto chose, as JSON, by the fingerprint of
    their items; `arithmetic` is what can move the last digits of a number on another machine;
    `by` is the mark of who wrote it, read as "" where that is not this user; `digest` is over all the others."""

    task: str
    command: tuple[str, ...]
    seed: int
    data: Mapping[str, str]
    weights: Mapping[str, str]
    config: str
    index: str
    started: str
    ended: str
    code: Code
    packages: Mapping[str, str]
    python: str
    platform: str
    stages: tuple[Stage, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    objective: float | None = None
    measure: str = ""
    compared: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    arithmetic: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    form: int = FORM
    by: str = field(default="", compare=False)
    digest: str = ""

    @classmethod
    def of_job(
        cls,
        folder: Path | str,
        stopwatch: Stopwatch,
        *,
        task: str,
        seed: int,
        data: Mapping[str, str],
        weights: Mapping[str, str],
        config: str,
        index: str,
        counts: Mapping[str, int] | None = None,
        files: Iterable[str] | None = None,
        settings: Mapping[str, str] | None = None,
        fingerprint: str = "",
        objective: float | None = None,
        measure: str = "",
        compared: Mapping[str, Mapping[str, float]] | None = None,
        batch_size: int | None = None,
        choices: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> "Manifest":
        """Manifest of the job that now ends and left `files` in `folder` (those of the usual four that are there); `digests` are
        of those whose digest was taken as they were written."""
        folder = Path(folder)
        names = [name for name in BESIDE if (folder / name).is_file()] if files is None else list(files)
        return cls(
            task=task,
            command=provenance.command_line(),
            seed=seed,
            data=dict(data),
            weights=dict(weights),
            config=config,
            index=index,
            started=stopwatch.started,
            ended=provenance.now(),
            code=provenance.code(),
            packages=dict(provenance.package_versions()),
            python=provenance.python_version(),
            platform=provenance.machine(),
            stages=tuple(stopwatch.stages),
            counts=dict(counts or {}),
            files={name: (digests or {}).get(name) or _digest(folder / name) for name in names},
            settings=dict(settings or {}),
            fingerprint=fingerprint,
            objective=objective,
            measure=measure,
            compared=dict(compared or {}),
            choices=dict(choices or {}),
            arithmetic=provenance.arithmetic() | ({} if batch_size is None else {"encode.batch_size": str(batch_size)}),
        )

    def write(self, path: Path | str) -> None:
        """Write as JSON, whole."""
        content = dataclasses.asdict(dataclasses.replace(self, digest=""))
        content.pop("by")
        if not self.choices:
            content.pop("choices")  # few jobs choose an index
        digest = digest_of(content)
        write_json(path, content | {"digest": digest, "by": marks.mark_of(MARKED + digest)})

    @classmethod
    def read(cls, path: Path | str) -> "Manifest":
        """Read and check. Raises `MissingFileError`, or `DataError` naming the file, the key and what is wrong."""
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"{path}: no such manifest; every job leaves one in its output dir")
        content = read_json(path)
        if isinstance(content, dict) and content.get("form", FORM) != FORM:
            raise DataError(f"{path}: form is {content['form']!r}; this version of picdesk reads form {FORM}")
        manifest: Manifest = _build(cls, content, f"{path}")
        content.pop("by", None)
        if "digest" in content and digest_of(content | {"digest": ""}) != manifest.digest:
            raise DataError(f"{path}: changed or damaged since the job: its digest does not fit the rest of it")
        is_own = marks.is_own(MARKED + manifest.digest, manifest.by)
        return dataclasses.replace(manifest, digest="", by=manifest.by if is_own else "")

    @property
    def command_text(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.command)

    def check_files(self, folder: Path | str, there: bool = True) -> None:
        """Raise unless every file named is in `folder` with the digest written down; with `there=False` one may be gone.

        Of the usual four none may lie there that is not named, and none may be a link that leads out of the folder.
        """
        for name in self.files:
            if Path(name).name != name or name in ("", ".", ".."):
                raise DataError(f"manifest.json: files: {name!r} is not the name of a file beside the manifest")
        for name in {*BESIDE, *self.files} & {entry.name for entry in Path(folder).iterdir()}:
            if name not in self.files:
                raise DataError(
                    f"{Path(folder) / name}: manifest.json names no digest of it, so nobody can tell what it is"
                )
            if links_out(Path(folder) / name, Path(folder)):
                raise DataError(f"{Path(folder) / name}: is a link that leads out of the job's folder")
        for name, digest in self.files.items():
            if not there and not (Path(folder) / name).exists():
                continue
            found = _digest(Path(folder) / name)
            if found != digest:
                raise DataError(
                    f"{Path(folder) / name}: changed since the job: SHA-256 {found}, manifest.json has {digest}"
                )

    def differences(self, other: "Manifest") -> tuple[str, ...]:
        """What a number may depend on and is not the same in both, one line each: `data.captions: 'ab12' and 'cd34'`."""
        return tuple(
            f"{key}: {mine!r} and {theirs!r}"
            for key, (mine, theirs) in _pair_values(self._depends_on(), other._depends_on()).items()
            if mine != theirs
        )

    def _depends_on(self) -> dict[str, object]:
        named = {f"data.{key}": value for key, value in self.data.items()}
        named |= {f"weights.{key}": value for key, value in self.weights.items()}
        return {"seed": self.seed, "config": self.config, "index": self.index, **named}


def _digest(path: Path) -> str:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file, though the manifest of its job names it")
    return file_digest(path)


def _pair_values(mine: dict[str, object], theirs: dict[str, object]) -> dict[str, tuple[object, object]]:
    return {key: (mine.get(key), theirs.get(key)) for key in dict.fromkeys([*mine, *theirs])}


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value`, as JSON gave it, in the form of the annotation `kind`; `DataError` where it does not fit."""
    if dataclasses.is_dataclass(kind):
        return _build_fields(kind, value, where)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _build(inner[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {name: _build(inner[1], item, f"{where}.{name}") for name, item in value.items()}
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, str) and STEERING.search(value):
        raise DataError(f"{where}: holds letters that no manifest has")
    if origin is None and (type(value) is kind or number):
        if isinstance(value, int | float) and not abs(value) < MOST:
            raise DataError(f"{where}: a number beyond all measure")
        return kind(value)
    wanted = {tuple: "a list", Mapping: "an object"}.get(origin) or kind.__name__
    raise DataError(f"{where}: {value!r} is not {wanted}")


def _build_fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise DataError(f"{where}: holds {type(value).__name__}, wanted an object")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    required = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing, unknown = [n for n in required if n not in value], [n for n in value if n not in fields]
    if missing or unknown:
        raise DataError(f"{where}: missing keys {missing}, unknown keys {unknown}; allowed: {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _build(hints[name], item, f"{where}: {name}") for name, item in value.items()})
