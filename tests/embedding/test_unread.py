"""Texts that the model does not see, and items that it cannot tell apart, are counted, and said."""

import importlib
import logging
import pkgutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from picdesk import backbones
from picdesk.backbones.captioner import Captioner
from picdesk.backbones.lite import Lite
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.embedding.unread import FILE, same_vectors
from picdesk.interfaces import CUT, UNKNOWN
from tests.backbones import tiny_models
from tests.embedding.fakes import Tiny
from tests.training import models

LONG = "a boat on the river " * 40
ODD = "\U0001f9ff\U0001f9ff"


@pytest.fixture(scope="module")
def lite() -> Lite:
    return Lite(dim=8)


def test_flags_of_a_tokenizer_with_an_unknown_token(lite: Lite) -> None:
    exact = "boat " * 126  # with its two ends just what is read
    assert lite.text_flags(["a boat", LONG, ODD, exact, exact + "boat", ""]).tolist() == [
        0,
        CUT,
        UNKNOWN,
        0,
        CUT,
        UNKNOWN,
    ]


def test_every_backbone_of_ours_tells() -> None:
    """Who compares captions too: `backbone=sentences` and `captioner`."""
    modules = [module.name for module in pkgutil.iter_modules(backbones.__path__, f"{backbones.__name__}.")]
    classes = [
        one
        for name in modules
        for one in vars(importlib.import_module(name)).values()
        if isinstance(one, type) and issubclass(one, TwoTower) and one.__module__ == name and one is not TwoTower
    ]
    assert len(classes) >= 8
    told = {"text_flags", "context"}
    silent = [
        one
        for one in classes
        if not told <= {name for base in one.__mro__[: one.__mro__.index(TwoTower)] for name in vars(base)}
    ]
    assert silent == []
    assert Captioner(model=None, max_tokens=6).text_flags(["a boat", LONG, ODD]).tolist() == [0, CUT, UNKNOWN]


def test_flags_of_byte_pairs() -> None:
    clip = models.tiny_open_clip()
    assert clip.context == 77
    assert clip.text_flags(["a boat", LONG, "boat " * 75, "boat " * 76, "  "]).tolist() == [0, CUT, 0, CUT, UNKNOWN]


def test_texts_are_tokenised_once_for_features_and_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, asked = models.tiny_open_clip(), list[int]()
    tokenizer = clip._tokenizer

    class Counted:
        def __call__(self, texts: list[str]) -> torch.Tensor:
            asked.append(len(texts))
            return tokenizer(texts)

        def __getattr__(self, name: str) -> object:
            return getattr(tokenizer, name)

    monkeypatch.setattr(clip, "_tokenizer", Counted())
    encoder = Encoder(Store(tmp_path))
    encoder.texts(clip, ["a boat", LONG, "  "])
    assert asked == [3]
    assert encoder.unread.counts() == {"texts_cut": 1, "texts_unknown": 1}
    assert clip.text_flags(["a boat", "  "]).tolist() == [0, UNKNOWN]
    clip.tokenize(["a boat", "a dog"])
    assert clip.text_flags(["  ", LONG]).tolist() == [UNKNOWN, CUT], "flags are of the texts that are asked for"


@pytest.mark.parametrize("kind", ["clip", "siglip2", "align"])
def test_flags_of_the_transformers_library(kind: str, tmp_path: Path) -> None:
    from picdesk.backbones.transformers import Transformers

    backbone = Transformers(str(tiny_models.make(kind, tmp_path)))
    assert backbone.text_flags(["a dog", "dog " * 90]).tolist() == [0, CUT]


def test_they_are_said_once_and_counted(lite: Lite, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder(Store(tmp_path))
    texts = ["a boat", LONG, LONG + "sinks", ODD, "\U0001f3f4", "a boat"]
    with caplog.at_level(logging.WARNING):
        encoder.texts(lite, texts)
        encoder.texts(lite, texts)
    said = [record.getMessage() for record in caplog.records]
    assert said == list(encoder.unread.lines())
    assert said[0].startswith("2 of 5 texts are longer than the 128 tokens that lite(")
    assert said[1].startswith("2 of 5 texts are made of tokens only that are unknown to lite(")
    assert said[2].startswith("4 different texts have the same vector")
    assert encoder.unread.counts() == {"texts_cut": 2, "texts_unknown": 2, "texts_alike": 4}


def test_a_warm_store_says_the_same_without_tokenising(
    lite: Lite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Encoder(Store(tmp_path))
    first.texts(lite, ["a boat", LONG])

    def refuse(*_: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(type(lite), "text_flags", refuse)
    again = Encoder(Store(tmp_path))
    again.texts(lite, [LONG, "a boat"])
    assert again.unread.lines() == first.unread.lines()


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY nothing", b"x" * 200])
def test_a_damaged_file_of_flags_is_made_anew(damage: bytes, lite: Lite, tmp_path: Path) -> None:
    Encoder(Store(tmp_path)).texts(lite, ["a boat", LONG])
    (path,) = tmp_path.glob(f"*/{FILE}")
    sound = path.read_bytes()
    path.write_bytes(damage)
    again = Encoder(Store(tmp_path))
    again.texts(lite, ["a boat", LONG])
    assert again.unread.counts() == {"texts_cut": 1}
    assert path.read_bytes() == sound


def test_a_lookup_costs_next_to_nothing(tmp_path: Path) -> None:
    space = Store(tmp_path).space("text", "f", "fp32", 4)
    keys = [int(i).to_bytes(8, "little") + bytes(8) for i in np.random.default_rng(0).permutation(50_000)]
    space.texts.flags(keys, lambda rows: np.zeros(len(rows), np.uint8))
    start = time.perf_counter()
    space.texts.flags(keys, lambda rows: pytest.fail("known already"))
    assert time.perf_counter() - start < 1.0


def test_only_rows_of_different_items_count_as_alike() -> None:
    rows = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 4], [1, 2, 3], [5, 6, 7]], np.float32)
    assert same_vectors([b"a", b"b", b"c", b"a", b"d"], rows) == [0, 1]
    assert same_vectors([b"a", b"a", b"c", b"a", b"d"], rows) == []
    assert same_vectors([], np.empty((0, 3), np.float32)) == []


def test_a_backbone_that_cannot_tell_says_nothing_of_it(tmp_path: Path) -> None:
    encoder = Encoder(Store(tmp_path))
    encoder.texts(Tiny(), ["ab", "ba", "cc"])
    assert encoder.unread.counts() == {"texts_alike": 2}, "anagrams are one to it"


def same_in_a_batch_and_one_at_a_time(backbone: TwoTower, texts: list[str], theirs: torch.Tensor) -> None:
    """The embeddings of texts of very different lengths are the library's own."""
    wanted = theirs / theirs.norm(dim=-1, keepdim=True)
    for rows in (list(range(len(texts))), *([i] for i in range(len(texts)))):
        with torch.inference_mode():
            found = backbone.embed("text", backbone.text_trunk(**backbone.tokenize([texts[i] for i in rows])))
        np.testing.assert_allclose(found, wanted[rows], atol=1e-5)


def test_a_clip_of_stretched_positions_reads_all_of_them(tmp_path: Path) -> None:
    import json

    import transformers as hf

    from picdesk.backbones.transformers import Transformers

    tiny_models.make("clip", tmp_path)
    model = hf.CLIPModel.from_pretrained(tmp_path)
    config = model.config
    config.text_config.max_position_embeddings = 248
    hf.CLIPModel(config).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 77
    backbone = Transformers(str(tmp_path))
    assert backbone.context == 248
    assert backbone.tokenize(["dog " * 300])["input_ids"].shape == (1, 248)
    texts, model = [LONG, "a boat"], hf.CLIPModel.from_pretrained(tmp_path)
    tokenizer = hf.AutoTokenizer.from_pretrained(tmp_path, model_max_length=248)
    with torch.inference_mode():
        theirs = model.get_text_features(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt"))
    theirs = theirs if isinstance(theirs, torch.Tensor) else theirs.pooler_output
    same_in_a_batch_and_one_at_a_time(backbone, texts, theirs)


def test_a_weights_file_of_stretched_positions_is_not_squeezed(tmp_path: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    from picdesk.backbones.open_clip import OpenClip

    models.folder()
    plain = open_clip.create_model("tiny-train", force_context_length=248)
    state = {name: value.contiguous() for name, value in plain.state_dict().items() if name != "attn_mask"}
    save_file(state, tmp_path / "long.safetensors")
    torch.save(state, tmp_path / "long.pt")
    for file in ("long.safetensors", "long.pt"):
        backbone = OpenClip("tiny-train", pretrained=str(tmp_path / file))
        assert backbone.context == 248
        assert torch.equal(backbone.text_trunk.tower.positional_embedding, state["positional_embedding"])
        tokens = backbone.tokenize(["boat " * 200, "a boat"])
        assert tokens["text"].shape == (2, 248)
        assert backbone.token_lengths(tokens).tolist() == [202, 4]
        texts = ["boat " * 200, "a boat", "dog " * 300]
        words = open_clip.get_tokenizer("tiny-train", context_length=248)
        with torch.inference_mode():
            theirs = plain.eval().encode_text(words(texts))
        same_in_a_batch_and_one_at_a_time(backbone, texts, theirs)
