"""Which files make an open_clip model: architecture, weights, preprocessing and tokenizer, by name and tag, folder or hub id."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picdesk.backbones.open_clip_places import stretched_places
from picdesk.errors import ConfigError, MissingFileError, examples
from picdesk.files import digest_of
from picdesk.hub import folder_of, of_hub, small_files
from picdesk.weights import NO_CODE

log = logging.getLogger(__name__)
HUB, FOLDER = "hf-hub:", "local-dir:"
CONFIG = "open_clip_config.json"
SAFE, PICKLED = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
RECIPE = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Source:
    """Where one model comes from. `library_name` is what open_clip is asked for; `weights` a file, a tag of a model that has
    no hub id, or None (random, or in the folder of `library_name`); `tokenizer` a folder where open_clip's own does not do;
    `context` how many places of a text the weights have, where that is not what the name says."""

    library_name: str
    config: dict[str, Any]
    weights: str | None = None
    tokenizer: Path | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    quick_gelu: bool = False
    context: int | None = None


def find(model: str, pretrained: str | None, weights: str | None, quick_gelu: bool | None) -> Source:
    """Find everything that the model is made of, on this machine where possible.

    Raises `ConfigError` for unknown names, `MissingFileError` for missing files, `UserError` where a hub would be needed.
    """
    import open_clip

    if model in open_clip.list_models():
        return of_name(model, pretrained, weights, quick_gelu)
    given = model.removeprefix(FOLDER)
    if not model.startswith(HUB) and not Path(given).expanduser().is_dir():
        near = difflib.get_close_matches(model, open_clip.list_models(), 8, cutoff=0.4)
        raise ConfigError(
            f"backbone.model={model} is not a model of open_clip, a local folder or an hf-hub: id; near it: {examples(near, 8)}"
        )
    if weights is not None:
        raise ConfigError(f"backbone.weights={weights}: backbone.model={model} brings its own weights; leave this out")
    if pretrained is not None:
        log.info("backbone.pretrained=%s does not apply: %s brings its own weights", pretrained, model)
    return of_folder(
        folder_of(given.removeprefix(HUB), "backbone.model", pick_folder, f"{CONFIG}, {SAFE}, tokenizer"),
        model,
        quick_gelu,
    )


def of_folder(folder: Path, model: str, quick_gelu: bool | None) -> Source:
    """A folder in the form in which open_clip publishes: its config names architecture and preprocessing."""
    names = [path.name for path in folder.iterdir()]
    if CONFIG not in names or not weights_in(names):
        raise MissingFileError(f"backbone.model={model}: wanted there {CONFIG} and {SAFE} (or {PICKLED})")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"backbone.model={model}: {CONFIG} cannot be used ({type(error).__name__}: {error})"
        ) from error
    quick = bool(config.get("quick_gelu", False)) if quick_gelu is None else quick_gelu
    return Source(f"{FOLDER}{folder}", config, None, None, {}, quick)


def of_name(model: str, pretrained: str | None, weights: str | None, quick_gelu: bool | None) -> Source:
    """One of the library's names, with a tag, a file, both (a file that holds the tag's weights), or random weights."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    file = weights
    if pretrained is not None and pretrained not in tags:
        if weights is not None or not Path(pretrained).expanduser().is_file():
            raise MissingFileError(
                f"backbone.pretrained={pretrained} is neither a weights file nor a tag of {model}; tags: {examples(tags, 20)}"
            )
        pretrained, file = None, pretrained
    place = Path(file).expanduser() if file is not None else hub_copy(model, pretrained)
    if file is not None and not Path(file).expanduser().exists():
        raise MissingFileError(f"backbone.weights={file}: no such file or folder")
    recipe = recipe_of(model, pretrained) if pretrained is not None else shared_recipe(model, file, quick_gelu)
    quick = bool(recipe.pop("quick_gelu", False)) or model.endswith("-quickgelu")
    config = open_clip.get_model_config(model)
    needs_folder = bool(config["text_cfg"].get("hf_tokenizer_name"))
    file = str(weights_file(place)) if place is not None else None
    return Source(
        library_name=model,
        config=config,
        context=stretched_places(file, config["text_cfg"]),
        weights=file or pretrained,
        tokenizer=tokenizer_folder(model, config, place) if needs_folder else None,
        recipe=recipe,
        quick_gelu=quick if quick_gelu is None else quick_gelu,
    )


def recipe_of(model: str, tag: str) -> dict[str, Any]:
    """Mean, std, interpolation, resize mode and activation that the weights behind a tag were trained with."""
    import open_clip

    known = open_clip.get_pretrained_cfg(model, tag)
    return {key: known[key] for key in RECIPE if key in known} | {"quick_gelu": bool(known.get("quick_gelu", False))}


def shared_recipe(model: str, file: str | None, quick_gelu: bool | None) -> dict[str, Any]:
    """What all tags of the model agree on; of the rest, for a weights file, it is said that the file cannot tell."""
    import open_clip

    recipes = [recipe_of(model, tag) for tag in open_clip.list_pretrained_tags_by_model(model)]
    if not recipes:
        return {}
    agreed = {key: value for key, value in recipes[0].items() if all(recipe.get(key) == value for recipe in recipes)}
    open_points = [
        key for key in recipes[0] if key not in agreed and not (key == "quick_gelu" and quick_gelu is not None)
    ]
    if file is not None and open_points and not model.endswith("-quickgelu"):
        log.warning(
            "backbone: published weights of %s differ in %s, and %s cannot tell; open_clip's defaults are used. If the file "
            "holds the weights of a tag, say so: backbone.pretrained=TAG backbone.weights=FILE",
            model,
            ", ".join(open_points),
            Path(file).name,
        )
    return agreed


def hub_copy(model: str, tag: str | None) -> Path | None:
    """The folder with a tag's weights; None for random weights and for tags that are not on the hub."""
    import open_clip

    entry = str((open_clip.get_pretrained_cfg(model, tag) or {}).get("hf_hub", "")) if tag else ""
    if not entry:
        return None
    hub_id, _, name = entry.rpartition("/")

    def pick_files(names: Iterable[str]) -> list[str]:
        found = [item for item in names if "/" not in item]
        weights = [name] if name and name in found else weights_in(found)
        return [*small_files(found), *weights] if weights else []

    with_words = bool(open_clip.get_model_config(model)["text_cfg"].get("hf_tokenizer_name"))
    wanted = f"{name or SAFE}{', tokenizer.json and tokenizer_config.json' if with_words else ''}"
    remedy = f"backbone.weights={'FOLDER' if with_words else 'FILE'}"
    return of_hub(hub_id, f"backbone.pretrained={tag}", pick_files, wanted, remedy)


def tokenizer_folder(model: str, config: dict[str, Any], place: Path | None) -> Path:
    """The folder with the tokenizer of a model whose tokenizer is not open_clip's own: beside the weights, or of the hub."""
    if place is not None:
        folder = place if place.is_dir() else place.parent
        if pick_tokenizer(path.name for path in folder.iterdir()):
            return folder
    hub_id = str(config["text_cfg"]["hf_tokenizer_name"])
    remedy = "backbone.weights=FOLDER with the weights and these files"
    return of_hub(hub_id, f"backbone.model={model}", pick_tokenizer, "tokenizer.json and tokenizer_config.json", remedy)


def pick_folder(names: Iterable[str]) -> list[str]:
    """Of a published open_clip model: config, tokenizer and one form of the weights."""
    found = [name for name in names if "/" not in name]
    weights = weights_in(found)
    return [*small_files(found), *weights] if weights and CONFIG in found else []


def pick_tokenizer(names: Iterable[str]) -> list[str]:
    """The small files, where a tokenizer is among them."""
    found = small_files(names)
    return found if any(name == "tokenizer.json" or name.endswith(".model") for name in found) else []


def weights_in(names: Iterable[str]) -> list[str]:
    """The one weights file to take: open_clip's own name first, safetensors before anything that was pickled."""
    found = sorted(name for name in names if name.endswith((".safetensors", ".bin", ".pt", ".pth")))
    order = (SAFE, "open_clip_pytorch_model.safetensors", PICKLED)
    ranked = sorted(
        found, key=lambda name: order.index(name) if name in order else 3 + (not name.endswith(".safetensors"))
    )
    return ranked[:1]


def weights_file(place: Path) -> Path:
    """A weights file, or the one inside a folder."""
    if place.is_file():
        return place
    names = weights_in(path.name for path in place.iterdir())
    if not names:
        raise MissingFileError(f"backbone.weights={place}: wanted there {SAFE} (or a .pt file of weights)")
    return place / names[0]


def load_tokenizer(source: Source) -> Any:
    """The tokenizer of the model, without any call to a hub, and without code that its config or its folder names."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    text = source.config["text_cfg"]
    options: dict[str, Any] = dict(NO_CODE) if text.get("hf_tokenizer_name") else {}
    options |= {"context_length": source.context} if source.context else {}
    try:
        with quiet_library():
            if source.tokenizer is None:
                return open_clip.get_tokenizer(source.library_name, **options)
            own = {"context_length": text.get("context_length", 77), "tokenizer_mode": text.get("tokenizer_mode")}
            return HFTokenizer(
                str(source.tokenizer), **{**text.get("tokenizer_kwargs", {}), **own, **options, **NO_CODE}
            )
    except Exception as error:
        if "trust_remote_code" not in str(error):
            raise
        place = source.tokenizer or source.library_name.removeprefix(FOLDER)
        raise ConfigError(
            f"backbone: the tokenizer in {place} wants to run code of that folder, which is not done"
        ) from error


@contextmanager
def quiet_library() -> Iterator[None]:
    """Hold back what open_clip writes to the root logger; what matters of it is said by our own modules."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def tokenizer_content(tokenizer: Any) -> str:
    """Digest of a tokenizer: its vocabulary or definition, its cleaning rule and its context length."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None and hasattr(inner, "backend_tokenizer"):
        content: Any = inner.backend_tokenizer.to_str()
    else:
        content = sorted((inner.get_vocab() if inner is not None else tokenizer.encoder).items())
    clean = getattr(getattr(tokenizer, "clean_fn", None), "__name__", "")
    return digest_of([type(tokenizer).__name__, content, clean, tokenizer.context_length])
