"""The open_clip backbone against the library's own encode_image and encode_text."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from picdesk.backbones.open_clip import OpenClip
from picdesk.errors import ConfigError, UserError
from tests.backbones import vocabulary_memory
from tests.conftest import PROJECT

vocabulary_memory.begin()

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 4, "layers": 2},
}
TEXTS = ["a dog", "two children run through tall grass"]


@pytest.fixture(scope="module", autouse=True)
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny-test.json").write_text(json.dumps(TINY))
    (folder / "tiny-test-custom.json").write_text(json.dumps(TINY | {"custom_text": True}))
    multimodal = {"context_length": 76, "width": 16, "heads": 4, "layers": 1, "vocab_size": 49408}
    coca_text = TINY["text_cfg"] | {"context_length": 76, "embed_cls": True, "output_tokens": True}
    coca_vision = TINY["vision_cfg"] | {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}
    coca = TINY | {"text_cfg": coca_text, "vision_cfg": coca_vision, "custom_text": True, "multimodal_cfg": multimodal}
    (folder / "tiny-coca.json").write_text(json.dumps(coca))
    open_clip.add_model_config(folder)


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


def library_model(name: str, **kwargs: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return open_clip.create_model(name, **kwargs).eval()


@pytest.mark.parametrize("name", ["tiny-test", "tiny-test-custom"])
def test_embeddings_are_the_librarys(name: str, picture: Image.Image) -> None:
    ours, theirs = OpenClip(name, seed=5), library_model(name)
    transform = image_transform_v2(PreprocessCfg(**theirs.visual.preprocess_cfg), is_train=False)
    pixels = ours.normalise_pixels(torch.from_numpy(ours.picture_to_pixels(picture).copy())[None])
    assert torch.equal(pixels[0], transform(picture))
    with torch.inference_mode():
        image = ours.embed("image", ours.image_trunk(pixels))
        text = ours.embed("text", ours.text_trunk(**ours.tokenize(TEXTS)))
        np.testing.assert_allclose(image, theirs.encode_image(pixels, normalize=True), atol=1e-5)
        tokens = open_clip.get_tokenizer(name)(TEXTS)
        np.testing.assert_allclose(text, theirs.encode_text(tokens, normalize=True), atol=1e-5)
    assert (ours.dim, ours.trunk_dim("image"), ours.trunk_dim("text")) == (24, 64, 16)


def test_coca_is_the_librarys_in_a_batch_and_one_at_a_time(picture: Image.Image) -> None:
    ours, theirs = OpenClip("tiny-coca", seed=5), library_model("tiny-coca")
    assert not any("decoder" in name for name, _ in ours.named_parameters()), "what writes captions is not kept"
    pixels = ours.normalise_pixels(torch.from_numpy(ours.picture_to_pixels(picture).copy())[None].repeat(2, 1, 1, 1))
    tokens = open_clip.get_tokenizer("tiny-coca")(TEXTS)
    with torch.inference_mode():
        images = ours.embed("image", ours.image_trunk(pixels))
        texts = ours.embed("text", ours.text_trunk(**ours.tokenize(TEXTS)))
        np.testing.assert_allclose(images, theirs.encode_image(pixels, normalize=True), atol=1e-5)
        np.testing.assert_allclose(texts, theirs.encode_text(tokens, normalize=True), atol=1e-5)
        for text, row in zip(TEXTS, texts, strict=True):
            alone = ours.embed("text", ours.text_trunk(**ours.tokenize([text])))
            np.testing.assert_allclose(alone[0], row, atol=1e-5)


def test_dim_and_prompts_are_options(picture: Image.Image) -> None:
    whole, short = OpenClip("tiny-test", seed=5), OpenClip("tiny-test", seed=5, dim=8, prompts={"query": "find: "})
    with torch.inference_mode():
        plain = whole.embed("text", whole.text_trunk(**whole.tokenize([f"find: {text}" for text in TEXTS])))[:, :8]
        found = short.embed("text", short.text_trunk(**short.tokenize(TEXTS)))
    torch.testing.assert_close(found, torch.nn.functional.normalize(plain, dim=-1))
    assert short.facing("i2t").trunk_fingerprint("text") == whole.trunk_fingerprint("text")


def test_the_library_is_one_whose_models_were_compared() -> None:
    """Version 4 has another training stack, other loaders and another default for the end of a text."""
    import tomllib
    from importlib.metadata import version

    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "open_clip_torch>=3.2,<4" in wanted
    assert (3, 2) <= tuple(int(part) for part in version("open_clip_torch").split(".")[:2]) < (4, 0)


def test_a_weights_file_is_loaded(tmp_path: Path, picture: Image.Image) -> None:
    theirs = library_model("tiny-test")
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    ours = OpenClip("tiny-test", pretrained=str(tmp_path / "weights.pt"), seed=99)
    with torch.inference_mode():
        text = ours.embed("text", ours.text_trunk(**ours.tokenize(TEXTS)))
        tokens = open_clip.get_tokenizer("tiny-test")(TEXTS)
        np.testing.assert_allclose(text, theirs.encode_text(tokens, normalize=True), atol=1e-5)


def test_quickgelu_is_what_the_module_then_has() -> None:
    quick, plain = OpenClip("tiny-test", quick_gelu=True), OpenClip("tiny-test")
    kinds = {type(block.mlp.gelu).__name__ for block in quick.image_trunk.transformer.resblocks}  # type: ignore[union-attr]
    assert kinds == {"QuickGELU"}
    assert {type(b.mlp.gelu).__name__ for b in plain.image_trunk.transformer.resblocks} == {"GELU"}  # type: ignore[union-attr]
    assert quick.trunk_fingerprint("image") != plain.trunk_fingerprint("image")


def test_the_librarys_own_chatter_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        open_clip.get_tokenizer("tiny-test")
        assert caplog.records, "there is something to hold back"
        caplog.clear()
        OpenClip("tiny-test")
    assert [record for record in caplog.records if not record.name.startswith("picdesk")] == []


def test_unknown_names_are_told() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.model=ViT-B-33 .*ViT-B-32"):
        OpenClip("ViT-B-33")
    with pytest.raises(UserError, match=r"backbone\.pretrained=nowhere\.pt is neither"):
        OpenClip("tiny-test", pretrained="nowhere.pt")


KINDS = {
    "eos": {"pool_type": "eos", "eos_id": 49407},
    "no_causal": {"no_causal_mask": True, "pool_type": "last"},
    "class_token": {"embed_cls": True, "pad_id": 0},
}


@pytest.mark.parametrize("name", ["tiny-test", "tiny-test-custom"])
def test_trimmed_texts_have_the_librarys_features(name: str) -> None:
    ours, theirs = OpenClip(name, seed=5), library_model(name)
    texts = ["a", "a dog", "word " * 30, "word " * 200, "", "two children run"]
    tokens = open_clip.get_tokenizer(name)(texts)
    inputs = ours.tokenize(texts)
    assert ours.token_lengths(inputs).tolist() == [3, 4, 32, 77, 2, 5]
    with torch.inference_mode():
        expected = theirs.encode_text(tokens, normalize=True)
        for rows in ([0, 1, 2, 3, 4, 5], [0, 4, 1], [2]):
            longest = int(ours.token_lengths(inputs)[rows].max())
            trimmed = ours.embed("text", ours.text_trunk(inputs["text"][rows, :longest]))
            np.testing.assert_allclose(trimmed, expected[rows], atol=1e-5, rtol=0)
            whole = ours.embed("text", ours.text_trunk(inputs["text"][rows]))
            np.testing.assert_allclose(whole, expected[rows], atol=1e-5, rtol=0)


def test_the_trunk_runs_no_more_tokens_than_the_longest_text_has() -> None:
    ours = OpenClip("tiny-test", seed=5)
    lengths: list[int] = []
    tower: Any = ours.text_trunk.tower
    tower.transformer.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[1]))
    ours.text_trunk(**ours.tokenize(["a dog", "a very big dog"]))
    assert lengths == [6]


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_towers_agree_with_the_library_too(kind: str, tmp_path: Path) -> None:
    name = f"tiny-test-{kind}"
    text_cfg = TINY["text_cfg"] | KINDS[kind]  # type: ignore[operator]
    (tmp_path / f"{name}.json").write_text(json.dumps(TINY | {"custom_text": True, "text_cfg": text_cfg}))
    open_clip.add_model_config(tmp_path)
    ours, theirs = OpenClip(name, seed=5), library_model(name)
    texts = ["a", "a dog runs over the field"]
    inputs = ours.tokenize(texts)
    assert ours.text_trunk.cuttable == (kind == "eos")
    assert ours.token_lengths(inputs).tolist() == ([3, 8] if kind == "eos" else [77, 77])
    with torch.inference_mode():
        text = ours.embed("text", ours.text_trunk(**inputs))
        tokens = open_clip.get_tokenizer(name)(texts)
        np.testing.assert_allclose(text, theirs.encode_text(tokens, normalize=True), atol=1e-5)


def test_another_tokenizer_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = OpenClip("tiny-test")
    tokenizer = open_clip.SimpleTokenizer(additional_special_tokens=["<new>"])
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: tokenizer)
    after = OpenClip("tiny-test")
    assert after.trunk_fingerprint("text") != before.trunk_fingerprint("text")
    assert after.trunk_fingerprint("image") == before.trunk_fingerprint("image")
