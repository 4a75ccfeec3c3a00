"""The transformers backbone against the library's own documented pipeline, on small models in their real form on disk."""

import importlib.util
import json
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import transformers as hf
from hydra import compose, initialize_config_dir
from PIL import Image

from picdesk.assembly import schema
from picdesk.assembly.build import build
from picdesk.backbones.transformers import Transformers
from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.interfaces import Modality
from tests.backbones.tiny_models import MAKERS, SMALL, VISION, bert_tokenizer, make, save
from tests.conftest import PROJECT

TEXTS = ["A dog runs.", "two children in tall grass, far away", "x"]
FILL: dict[str, Literal["max_length", True]] = {"siglip": "max_length", "siglip2": "max_length"}
HAS_SENTENCEPIECE = importlib.util.find_spec("sentencepiece") is not None


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    kinds = [kind for kind in MAKERS if kind != "siglip" or HAS_SENTENCEPIECE]
    return {kind: make(kind, tmp_path_factory.mktemp(kind)) for kind in kinds}


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A CLIP folder that may be changed."""
    return Path(shutil.copytree(folders["clip"], tmp_path / "clip"))


@pytest.fixture
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = [(60, 90, 3), (90, 60, 3), (40, 41, 3)]
    return [Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def ours(backbone: Transformers, pictures: list[Image.Image], texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.from_numpy(np.stack([backbone.picture_to_pixels(picture) for picture in pictures]))
    with torch.inference_mode():
        images = backbone.embed("image", backbone.image_trunk(backbone.normalise_pixels(pixels)))
        return images, backbone.embed("text", backbone.text_trunk(**backbone.tokenize(texts)))


def theirs(
    folder: Path, model: Any, pictures: list[Image.Image], texts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    kind, processor = model.config.model_type, hf.AutoProcessor.from_pretrained(folder)
    tokens = processor(text=texts, padding=FILL.get(kind, True), truncation=True, return_tensors="pt")
    with torch.inference_mode():
        images = model.get_image_features(**processor(images=pictures, return_tensors="pt")).pooler_output
        found = model.get_text_features(**tokens).pooler_output
    if kind == "flava":  # its contrastive loss takes the first place
        images, found = images[:, 0], found[:, 0]
    return images / images.norm(dim=-1, keepdim=True), found / found.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("kind", MAKERS)
def test_embeddings_are_the_librarys_in_a_batch_and_one_at_a_time(
    kind: str, folders: dict[str, Path], pictures: list[Image.Image], no_sockets: list[str]
) -> None:
    if kind not in folders:
        pytest.skip("SigLIP's own tokenizer wants the package sentencepiece")
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose("evaluate", overrides=["backbone=transformers", f"backbone.model={folders[kind]}"])
        backbone = build(cfg, "backbone")
    assert no_sockets == []
    model = hf.AutoModel.from_pretrained(folders[kind])
    whole, held = (sum(p.numel() for p in one.parameters()) for one in (model, backbone))
    assert held == whole or (kind == "flava" and held < whole), "each tower once; FLAVA's third is not used"
    images, texts = theirs(folders[kind], model, pictures, TEXTS)
    found = ours(backbone, pictures, TEXTS)
    np.testing.assert_allclose(found[0], images, atol=1e-5)
    np.testing.assert_allclose(found[1], texts, atol=1e-5)
    for i in range(len(TEXTS)):
        one = ours(backbone, pictures[i : i + 1], TEXTS[i : i + 1])
        np.testing.assert_allclose(one[0][0], images[i], atol=1e-5)
        np.testing.assert_allclose(one[1][0], texts[i], atol=1e-5)
    assert abs(images @ images.T - torch.eye(3)).max() > 1e-3, "the pictures must differ"
    assert backbone.dim == images.shape[1] == texts.shape[1]
    assert backbone.image_trunk(backbone.normalise_pixels(torch.zeros(1, 3, 32, 32))).shape[1] == backbone.trunk_dim(
        "image"
    )


def test_scale_and_bias_are_the_models(folders: dict[str, Path], pictures: list[Image.Image]) -> None:
    backbone = Transformers(str(folders["siglip2"]))
    assert (backbone.logit_scale.item(), backbone.logit_bias) == (4.5, -12.5)
    model, processor = (
        hf.AutoModel.from_pretrained(folders["align"]),
        hf.AutoProcessor.from_pretrained(folders["align"]),
    )
    with torch.inference_mode():
        logits = model(**processor(text=TEXTS, images=pictures, return_tensors="pt")).logits_per_text
    align = Transformers(str(folders["align"]))
    images, texts = ours(align, pictures, TEXTS)
    np.testing.assert_allclose(align.logit_scale.detach().exp() * texts @ images.T, logits, atol=1e-4)


def test_siglip_fills_up_to_its_context_and_lowers_case(folders: dict[str, Path]) -> None:
    backbone = Transformers(str(folders["siglip2"]))
    tokens = backbone.tokenize(["A DOG", "a dog"])
    assert list(tokens) == ["input_ids"]
    assert tokens["input_ids"].shape == (2, 64)
    assert torch.equal(tokens["input_ids"][0], tokens["input_ids"][1])


def test_long_texts_are_cut_at_the_context_length(folders: dict[str, Path]) -> None:
    for kind, length in (("clip", 77), ("align", 64), ("siglip2", 64)):
        assert Transformers(str(folders[kind])).tokenize(["dog " * 200])["input_ids"].shape == (1, length)


def change(folder: Path, file: str, *keys: str, value: Any) -> None:
    """Set one entry of a JSON file."""
    content = json.loads((folder / file).read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    assert place[keys[-1]] != value
    place[keys[-1]] = value
    (folder / file).write_text(json.dumps(content))


CHANGES: list[tuple[Modality, str, tuple[str, ...], Any]] = [
    ("image", "config.json", ("vision_config", "hidden_act"), "gelu"),
    ("image", "processor_config.json", ("image_processor", "crop_size"), {"height": 24, "width": 24}),
    ("image", "processor_config.json", ("image_processor", "size"), {"shortest_edge": 48}),
    ("image", "processor_config.json", ("image_processor", "image_mean"), [0.5, 0.5, 0.5]),
    ("image", "processor_config.json", ("image_processor", "image_std"), [0.5, 0.5, 0.5]),
    ("image", "processor_config.json", ("image_processor", "resample"), 2),
    ("image", "processor_config.json", ("image_processor", "rescale_factor"), 1 / 127.5),
    ("text", "config.json", ("text_config", "hidden_act"), "gelu"),
    ("text", "tokenizer_config.json", ("model_max_length",), 40),
    ("text", "tokenizer.json", ("model", "merges"), [["d", "o"]]),
]


@pytest.mark.parametrize(
    ("modality", "file", "keys", "value"), CHANGES, ids=lambda x: x[-1] if isinstance(x, tuple) else ""
)
def test_the_fingerprint_covers_it(
    modality: Modality, file: str, keys: tuple[str, ...], value: Any, folder: Path
) -> None:
    other: Modality = "text" if modality == "image" else "image"
    before = Transformers(str(folder))
    change(folder, file, *keys, value=value)
    after = Transformers(str(folder))
    assert before.trunk_fingerprint(modality) != after.trunk_fingerprint(modality)
    assert before.trunk_fingerprint(other) == after.trunk_fingerprint(other)


def test_the_fingerprint_is_of_content_not_of_place(folders: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    here, there = Transformers(str(folders["clip"])), Transformers(str(folder))
    here.tokenize(TEXTS)  # a call leaves settings in the tokenizer
    other = Transformers(str(make("clip", tmp_path / "other", seed=4)))
    modalities: tuple[Modality, Modality] = ("image", "text")
    for modality in modalities:
        assert here.trunk_fingerprint(modality) == there.trunk_fingerprint(modality)
        assert here.trunk_fingerprint(modality) != other.trunk_fingerprint(modality)


def test_a_hub_that_cannot_be_reached_is_told_at_once_in_one_line(no_sockets: list[str]) -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        Transformers("example-owner/never-published")
    assert time.monotonic() - start < 20
    assert no_sockets, "it must have tried"
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "backbone.model=example-owner/never-published",
        "cannot be reached",
        "download config.json",
        "=FOLDER",
    ):
        assert part in message


def test_what_is_wrong_with_a_folder_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"backbone\.model=\./nowhere/at/all: no such folder"):
        Transformers("./nowhere/at/all")
    with pytest.raises(UserError, match=r"backbone\.model=.* could not be loaded .*wanted: config\.json"):
        Transformers(str(tmp_path))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingFileError, match=r"holds no tokenizer \(tokenizer\.json or "):
        Transformers(str(folder))
    (folder / "processor_config.json").unlink()
    with pytest.raises(MissingFileError, match=r"holds no image processor \(preprocessor_config\.json or "):
        Transformers(str(folder))


@pytest.mark.skipif(HAS_SENTENCEPIECE, reason="the package sentencepiece is installed")
def test_a_missing_sentencepiece_is_named(folder: Path) -> None:
    change(folder, "tokenizer_config.json", "tokenizer_class", value="SiglipTokenizer")
    (folder / "tokenizer.json").rename(folder / "spiece.model")
    with pytest.raises(UserError, match="pip install sentencepiece"):
        Transformers(str(folder))


def test_lacking_tensors_are_no_silent_random_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"does not fit: 1 missing keys, for example 'text_projection\.weight'; "):
        Transformers(str(folder))


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "model.", "module._orig_mod."])
def test_what_a_training_tool_puts_before_the_names_is_taken_off(folder: Path, wrapper: str) -> None:
    from safetensors.torch import load_file, save_file

    wanted = Transformers(str(folder)).trunk_fingerprint("text")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {wrapper + name: value for name, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    assert Transformers(str(folder)).trunk_fingerprint("text") == wanted


def test_other_models_are_refused(tmp_path: Path) -> None:
    text = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 99,
    }
    hf.BertModel(hf.BertConfig(**text)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a bert model; wanted a dual encoder"):
        Transformers(str(tmp_path))


def test_pictures_of_varying_shape_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["siglip2"], tmp_path / "naflex"))
    hf.SiglipProcessor(
        hf.Siglip2ImageProcessor(patch_size=8), hf.AutoTokenizer.from_pretrained(folder)
    ).save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"does not give pictures of one fixed size.*NaFlex"):
        Transformers(str(folder))


def test_code_of_a_repository_is_never_run(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    for key, value in (("model_type", "jina_clip"), ("auto_map", {"AutoConfig": "evil.C", "AutoModel": "evil.M"})):
        content = json.loads((folder / "config.json").read_text()) | {key: value}
        (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="could not be loaded") as error:
        Transformers(str(folder))
    assert "\n" not in str(error.value)


def test_a_pickle_is_not_unpickled(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (folder / "model.safetensors").unlink()
    torch.save({"x": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="could not be loaded"):
        Transformers(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["clip", "siglip2"])
def test_prompts_and_dim_are_options(kind: str, folders: dict[str, Path], pictures: list[Image.Image]) -> None:
    whole = Transformers(str(folders[kind]))
    asked = Transformers(str(folders[kind]), dim=8, prompts={"query": "query: ", "document": None})
    found = asked.facing("i2t")
    images, texts = ours(asked, pictures, TEXTS)
    plain = ours(whole, pictures, TEXTS)[0][:, :8]
    torch.testing.assert_close(images, torch.nn.functional.normalize(plain, dim=-1))
    asking = ours(whole, pictures, ["query: " + text for text in TEXTS])[1][:, :8]
    torch.testing.assert_close(texts, torch.nn.functional.normalize(asking, dim=-1))
    torch.testing.assert_close(
        ours(found, pictures, TEXTS)[1],
        torch.nn.functional.normalize(ours(whole, pictures, TEXTS)[1][:, :8], dim=-1),
    )
    assert asked.dim == 8
    assert found.trunk_fingerprint("text") == whole.trunk_fingerprint("text") != asked.trunk_fingerprint("text")
    assert asked.trunk_fingerprint("image") == whole.trunk_fingerprint("image")
    with pytest.raises(ConfigError, match=r"backbone\.dim=0: the model's vectors have \d+ numbers"):
        Transformers(str(folders[kind]), dim=0)
    with pytest.raises(ConfigError, match=r"backbone\.prompts\.query_picture: choose out of query, document"):
        Transformers(str(folders[kind]), prompts={"query_picture": "x"})


def test_blip_for_matching_is_a_dual_encoder_too(tmp_path: Path, pictures: list[Image.Image]) -> None:
    tokenizer = bert_tokenizer()
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = hf.BlipConfig(text_config=text, vision_config=VISION, projection_dim=24, image_text_hidden_size=16)
    library = hf.BlipForImageTextRetrieval(config).eval()
    processor = hf.BlipProcessor(hf.BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    save(tmp_path, library, processor)
    backbone = Transformers(str(tmp_path))
    images, texts = ours(backbone, pictures, TEXTS)
    pixels = processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
    for i, said in enumerate(TEXTS):
        tokens = tokenizer(said, return_tensors="pt")
        with torch.inference_mode():
            wanted = library(
                pixel_values=pixels,
                input_ids=tokens["input_ids"].repeat(len(pictures), 1),
                attention_mask=tokens["attention_mask"].repeat(len(pictures), 1),
                use_itm_head=False,
            )[0][:, 0]
        np.testing.assert_allclose(images @ texts[i], wanted, atol=1e-5)
        np.testing.assert_allclose(ours(backbone, pictures[:1], [said])[1][0], texts[i], atol=1e-5)
