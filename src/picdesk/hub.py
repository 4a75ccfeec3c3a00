"""Where a model's files lie: a local folder, the hub's cache on this machine, or, only then, the hub itself."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from picdesk import network
from picdesk.errors import ConfigError, MissingFileError, UserError, kind_and_line

log = logging.getLogger(__name__)
SMALL = ("*.json", "*.txt", "*.model")  # configs and tokenizers
WITH_PICTURES = "config.json, preprocessor_config.json, the tokenizer's files and model.safetensors"
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
RUN_AS = "transformers_modules."  # what the transformers library calls modules that a repository brings
PATIENCE = 10  # seconds until a hub that does not answer counts as unreachable
Picked = Callable[[Iterable[str]], list[str]]


def folder_of(source: str, key: str, picked: Picked, wanted: str) -> Path:
    """The folder of `source`, a local folder or a hub id, given under the config key `key`.

    A local folder and a copy in the hub's cache are taken without any call to the hub. `picked` chooses, from the names of a
    repository's files, those that are needed; `wanted` describes them for the error. Raises `MissingFileError`, `UserError`.
    """
    local = Path(source).expanduser()
    if local.is_dir():
        return local
    if local.exists() or not ID.fullmatch(source):
        raise MissingFileError(f"{key}={source}: no such folder (give a folder, or a hub id such as OWNER/NAME)")
    return of_hub(source, f"{key}={source}", picked, wanted, f"{key}=FOLDER")


def of_hub(hub_id: str, asked: str, picked: Picked, wanted: str, remedy: str) -> Path:
    """The folder of a hub id, asked for by `asked` (KEY=VALUE); `remedy` is what to give in its place where there is no hub."""
    return find_cached(hub_id, picked) or download(hub_id, asked, picked, wanted, remedy)


def find_cached(hub_id: str, picked: Picked) -> Path | None:
    """The hub's cache on this machine, where it holds what is needed."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, local_files_only=True))
    except (OSError, ValueError):
        return None
    return folder if picked(path.relative_to(folder).as_posix() for path in folder.rglob("*")) else None


def download(hub_id: str, asked: str, picked: Picked, wanted: str, remedy: str) -> Path:
    """Fetch the picked files into the hub's cache; one line, at once, where the hub cannot be reached.

    Raises `ConfigError` or `UserError`.
    """
    network.need(asked)
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        listed = HfApi().model_info(hub_id, timeout=PATIENCE).siblings or []
        files = picked(item.rfilename for item in listed)
        if not files:
            raise ConfigError(f"{asked}: the hub's repository {hub_id} does not hold {wanted}")
        log.info("backbone: downloading %s from the hub", hub_id)
        return Path(snapshot_download(hub_id, allow_patterns=files, etag_timeout=PATIENCE))
    except UserError:
        raise
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{asked}: {hub_id} is neither a folder here nor a repository of the hub that may be read without a login"
        ) from error
    except Exception as error:  # the hub's client and the HTTP library below it raise many kinds
        raise UserError(
            f"{asked}: the hub cannot be reached ({kind_and_line(error, 120)}); download {wanted} from the hub id {hub_id} "
            f"on another machine and say where they lie: {remedy}"
        ) from error


def code_beyond(folder: Path, parts: Iterable[Any]) -> list[list[str]]:
    """Name and SHA-256 of each file of code that the `parts` of a model come from, or import, and that does not stand at the top
    of its folder: of folders inside it, and of other repositories, which `auto_map` may name (`OWNER/NAME--file.Class`).

    What else lies where the library keeps code was put there for other models, and is not on every machine.
    """
    names = {name for name in (type(part).__module__ for part in parts) if name.startswith(RUN_AS)}
    if not names:
        return []
    from transformers.dynamic_module_utils import get_relative_import_files

    begun = {str(sys.modules[name].__file__) for name in names}
    paths = {Path(path) for one in begun for path in (one, *get_relative_import_files(one))}
    own = {(path.name, path.read_bytes()) for path in folder.glob("*.py")}
    beyond = {(path.name, path.read_bytes()) for path in paths if path.is_file()} - own
    return sorted([name, hashlib.sha256(content).hexdigest()] for name, content in beyond)


def small_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files, the configs and tokenizers at its top."""
    return [name for name in names if "/" not in name and fits(name, SMALL)]


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file name fits one of the patterns."""
    return any(Path(name).match(pattern) for pattern in patterns)


def one_set_of_weights(names: Iterable[str]) -> list[str]:
    """Of a repository's files: configs, tokenizer, and one form of the weights; nothing where there is no `config.json`."""
    found = [name for name in names if "/" not in name]
    weights = [name for name in found if Path(name).match("model*.safetensors")]
    weights = weights or [name for name in found if fits(name, WEIGHTS) and name != "training_args.bin"]
    return [*small_files(found), *weights] if weights and "config.json" in found else []
