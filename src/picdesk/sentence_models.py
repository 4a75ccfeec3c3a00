"""What `backbone=sentence_transformers` and `reranker=cross_encoder` load out of a folder, and what they check of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.files import digest_of, file_digest
from picdesk.hub import WEIGHTS, fits, one_set_of_weights
from picdesk.weights import misfit, why

log = logging.getLogger(__name__)
FILES = (
    "config.json, model*.safetensors, tokenizer and processor, and modules.json with its folders where there are any"
)
DESCRIPTIONS = (".json", ".txt", ".jinja", ".model", ".py")


def pick_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files: one form of the weights, configs, code, templates, and the folders of the library's modules."""
    listed = list(names)
    top = one_set_of_weights(listed)
    deep = [name for name in listed if name.count("/") == 1 and name[0].isdigit()]  # 1_Pooling/config.json, 2_Dense/...
    whole = {str(Path(name).parent) for name in deep if name.endswith(".safetensors")}
    modules = [n for n in deep if not (str(Path(n).parent) in whole and fits(n, ("*.bin",)))]
    if not top and any(name.endswith("config.json") for name in deep):  # the older form: 0_Transformer/config.json
        top = [name for name in listed if "/" not in name and fits(name, ("*.json", "*.txt"))]
    more = [name for name in listed if "/" not in name and fits(name, ("*.py", "*.jinja"))]
    return [*dict.fromkeys([*top, *modules, *more])] if top else []


def load(kind: str, folder: Path, key: str, allow_code: bool, **options: Any) -> Any:
    """A `SentenceTransformer` or `CrossEncoder` (`kind`) in float32, frozen, with all its weights.

    `key` names key and value for errors. Code out of the folder runs only with `allow_code`. Raises `UserError`, `ConfigError`.
    """
    import sentence_transformers
    from transformers.utils import logging as chatter

    if not any(folder.glob("*.json")):
        raise MissingFileError(f"{key}: wanted there {FILES}")
    if allow_code:
        log.warning("%s: code that its folder brings or names is run", key)
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    settings: dict[str, Any] = {"device": "cpu", "local_files_only": True, "trust_remote_code": allow_code}
    weights = {"dtype": torch.float32, "weights_only": True}
    try:
        model = getattr(sentence_transformers, kind)(str(folder), model_kwargs=weights, **settings, **options)
        check_weights(model, folder, key, allow_code)
    except UserError:
        raise
    except Exception as error:  # the libraries raise whatever a broken folder leads to
        raise refusal(error, key) from error
    return model.eval().requires_grad_(False)


def refusal(error: BaseException, key: str) -> UserError:
    """One line of ours for whatever the library raised."""
    if "trust_remote_code" in str(error):
        return ConfigError(
            f"{key} wants to run code that its folder brings or names; read its .py files, then say "
            f"{key.split('.')[0]}.allow_code=true"
        )
    return UserError(f"{key} could not be loaded ({why(error, most=160)}); wanted: {FILES}")


def check_weights(model: Any, folder: Path, key: str, allow_code: bool) -> None:
    """Raise `UserError` where the file of weights lacks tensors of the model; the library would draw them at random."""
    inner = model.transformers_model
    if inner is None or hasattr(inner, "peft_config"):
        return
    options = {"output_loading_info": True, "device_map": "meta", "local_files_only": True}
    _, report = type(inner).from_pretrained(
        str(place_of_weights(folder)), config=inner.config, trust_remote_code=allow_code, **options
    )
    shapes = [str(one) for one in report.get("mismatched_keys", ())]
    if report["missing_keys"] or shapes:
        remedy = "config.json and weights must be of one model, as the library saved it"
        raise misfit(f"{key}: its weights file", report["missing_keys"], report["unexpected_keys"], shapes, remedy)


def place_of_weights(folder: Path) -> Path:
    """Where the first module lies: the folder itself, or one inside it."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        return folder / str(modules[0]["path"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return folder


def digest_of_folder(folder: Path) -> str:
    """Digest over the folder's small files, those of its modules too: configs, prompts, templates, tokenizer, code."""
    paths = [path for path in [*folder.glob("*"), *folder.glob("*/*")] if path.is_file()]
    kept = sorted(p for p in paths if p.suffix in DESCRIPTIONS and not fits(p.name, WEIGHTS) and p.name != "README.md")
    return digest_of([[path.relative_to(folder).as_posix(), file_digest(path)] for path in kept])
