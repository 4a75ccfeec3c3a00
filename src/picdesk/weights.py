"""Names of the tensors in a file of weights: what training tools wrap around them, and what to say where they do not fit."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, UserError, examples, first_line
from picdesk.files import LFS_POINTER, POINTER

Value = TypeVar("Value")
NO_CODE = {"local_files_only": True, "trust_remote_code": False}
"""What tokenizers and processors of transformers are loaded with, whatever a file in their folder asks for, and without a
question on the terminal."""
HOLDERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
)  # where training tools put the weights beside other things
INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # torch puts these anywhere in a name


def held_weights(content: Any) -> Any:
    """What a file holds under one of `HOLDERS`; all of it where there is none."""
    holder = next((key for key in HOLDERS if isinstance(content, dict) and isinstance(content.get(key), Mapping)), None)
    return content[holder] if holder else content


def unwrap_names(weights: Mapping[str, Value], wanted: Iterable[str]) -> dict[str, Value]:
    """The tensors under the names that a model gives them: `_orig_mod.`, `module.`, `model.` and the like taken off.

    Torch's own marks go wherever they stand. Any other first part goes only if all names share it and none of `wanted` begins
    with it. Where two names would become one, the names stay as they are.
    """
    tops = {name.split(".")[0] for name in wanted}
    names = {name: ".".join(part for part in name.split(".") if part not in INSIDE) for name in weights}
    while (top := _shared_top(names.values())) and top not in tops:
        names = {name: short.removeprefix(f"{top}.") for name, short in names.items()}
    if len(set(names.values())) < len(names):
        return dict(weights)
    return {names[name]: value for name, value in weights.items()}


def misfit(
    what: str, missing: Iterable[str], unexpected: Iterable[str], shapes: Iterable[str], remedy: str
) -> UserError:
    """One line for weights that do not fit a model: how many names are missing, unexpected, of another shape; what helps."""
    found = {"missing keys": sorted(missing), "unexpected keys": sorted(unexpected), "of another shape": sorted(shapes)}
    told = "; ".join(f"{len(names)} {kind}, for example {examples(names)}" for kind, names in found.items() if names)
    return UserError(f"{what} does not fit: {told}; {remedy}")


def from_folder(kind: Any, folder: Path, what: str, **options: Any) -> Any:
    """A model of the transformers library out of a folder, with all its weights, wrappers around their names taken off.

    Code of the folder runs only where the options say so; nobody is asked.
    `kind` is the library's class, `what` names key and value for the error. Raises `UserError` where the weights lack tensors of
    the model, and whatever the library raises.
    """
    options.setdefault("trust_remote_code", False)
    model, report = kind.from_pretrained(str(folder), output_loading_info=True, **options)
    mapping = _mapping(report["missing_keys"], report["unexpected_keys"])
    if mapping:
        model, report = kind.from_pretrained(str(folder), output_loading_info=True, key_mapping=mapping, **options)
    missing, shapes = report["missing_keys"], [str(key) for key in report.get("mismatched_keys", ())]
    if missing or shapes:
        remedy = "the folder's config.json and weights must be of one model, saved by save_pretrained"
        raise misfit(f"{what}: its weights file", missing, report["unexpected_keys"], shapes, remedy)
    return model


def _mapping(missing: Iterable[str], unexpected: Iterable[str]) -> dict[str, str]:
    """What to take off the names of a file, as the library's `key_mapping`, where that makes the missing ones."""
    names, gone = list(unexpected), set(missing)
    short = unwrap_names(dict.fromkeys(names, ""), gone)
    if not names or not gone or not gone <= set(short):
        return {}
    before = {name.removesuffix(own) for name, own in zip(names, short, strict=True)}
    if len(before) == 1:
        return {f"^{re.escape(before.pop())}": ""}
    return {rf"(^|(?<=\.)){mark}\.": "" for mark in INSIDE if any(mark in name.split(".") for name in names)}


def _shared_top(names: Iterable[str]) -> str:
    """The first part that all names begin with, "" if there is none, or nothing behind it."""
    tops = {name.partition(".")[0] if "." in name else "" for name in names}
    return tops.pop() if len(tops) == 1 else ""


def why(error: BaseException, path: Path | None = None, most: int = 200) -> str:
    """Why a file of weights could not be read, in one line: torch's own words advise to run whatever code is in it."""
    text = str(error)
    head = _head(path) if path is not None and path.is_file() else None
    if head == b"":
        return "the file is empty"
    if head is not None and head.startswith(LFS_POINTER):
        return POINTER
    found = re.search(r"GLOBAL ([\w.]+)", text)
    if found:
        return (
            f"it holds a Python object ({found.group(1)}), and nothing is unpickled here; save the state_dict() alone"
        )
    if "TorchScript" in text:
        return "a TorchScript archive, which holds code, and none is run here; save its state_dict() alone"
    if "weights_only" in text.lower().replace(" ", "_"):
        return "not a file of tensors that torch wrote; nothing else is unpickled here"
    return first_line(error, most)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(24)


def finite(values: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """`values` [n, ...] that a model gave, as they are; `what` is their name. Raises `DataError` where one is not finite: in a
    ranking it would count as a tie, and of a reranker as a score that was not given."""
    wrong = int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
    if wrong:
        told = f"{wrong:,} of {len(values):,} are not finite"
        raise DataError(
            f"{what}: {told}; the weights are damaged, or encode.precision is too small for them (fp32 is not)"
        )
    return values
