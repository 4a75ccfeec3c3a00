"""A text's feature depends on the text alone: not on what it is batched with, not on what its tokenizer says of the padding."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from transformers import dynamic_module_utils

from picdesk.backbones.open_clip import OpenClip
from picdesk.backbones.own_code import OwnCode
from picdesk.backbones.transformers import Transformers
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.batches import TextBatches
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError
from picdesk.training.checkpoint import Checkpoint, load, save
from picdesk.training.inputs import TextRows
from tests.backbones import tiny_models
from tests.backbones.test_own_code import CODE, publish
from tests.backbones.tiny_open_clip import publish as publish_open_clip

TEXTS = ["a red kite", "x", "three old boats lie on the sand before the harbour wall", "Two Dogs"]
IDS = ["input_ids"]
BOTH = ["input_ids", "attention_mask"]


def siglip(folder: Path, side: str, names: list[str]) -> Path:
    """A SigLIP 2 folder whose tokenizer pads on `side` and gives `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab = tiny_models.letters("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    tokenizer = hf.Siglip2Tokenizer(
        vocab=vocab, merges=[], model_max_length=64, padding_side=side, model_input_names=names
    )
    torch.manual_seed(3)
    model = tiny_models.siglip_model(len(tokenizer))
    tiny_models.save(folder, model, hf.SiglipProcessor(tiny_models.siglip_pictures(), tokenizer))
    return folder


def embed_in_batches(backbone: TwoTower, size: int) -> torch.Tensor:
    """Embeddings [n, dim] of the texts as the encode loop batches them."""
    plan = TextBatches(backbone, TEXTS, list(range(len(TEXTS))))
    rows: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for part, inputs in plan(iter([plan.order[i : i + size] for i in range(0, len(TEXTS), size)])):
            rows |= dict(zip(part, backbone.embed("text", backbone.text_trunk(**inputs)), strict=True))
    return torch.stack([rows[i] for i in range(len(TEXTS))])


def trained_on(backbone: TwoTower, size: int) -> torch.Tensor:
    """The same, as training cuts them."""
    rows = TextRows(backbone, TEXTS)
    with torch.inference_mode():
        parts = [rows.take(list(range(i, min(i + size, len(TEXTS))))) for i in range(0, len(TEXTS), size)]
        return torch.cat([backbone.embed("text", backbone.text_trunk(**part)) for part in parts])


def library(folder: Path) -> torch.Tensor:
    """The library's own features of the texts, filled up to the context."""
    model, tokenizer = hf.AutoModel.from_pretrained(folder).eval(), hf.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        return torch.nn.functional.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("siglip2", {"truncation_side": "left"}),
        ("siglip2", {"pad_token": "<unk>"}),
        ("siglip2", {"padding_side": "left"}),
        ("roberta", {"truncation_side": "left"}),
        ("roberta", {"pad_token": "[UNK]"}),
    ],
)
def test_settings_beside_a_tokenizers_definition_are_in_the_fingerprint(
    kind: str, change: dict[str, str], tmp_path: Path
) -> None:
    build: type[OpenClip] | type[Transformers] = OpenClip if kind == "roberta" else Transformers
    folder = (publish_open_clip if kind == "roberta" else tiny_models.make)(kind, tmp_path / kind)
    settings = folder / "tokenizer_config.json"
    before, store = build(str(folder)), Store(tmp_path / "store")
    texts = [*TEXTS, "a long text " * 60 + "of a red kite"]
    plain = Encoder(store).texts(before, texts)
    settings.write_text(json.dumps(json.loads(settings.read_text()) | change))
    after = build(str(folder))
    assert np.abs(Encoder(Store(tmp_path / "another")).texts(after, texts) - plain).max() > 0.01, "it is another text"
    assert after.trunk_fingerprint("text") != before.trunk_fingerprint("text")
    assert after.trunk_fingerprint("image") == before.trunk_fingerprint("image")
    assert np.abs(Encoder(store).texts(after, texts) - plain).max() > 0.01, "out of the same store"


def test_a_checkpoint_of_before_they_were_told_apart_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SigLIP's own tokenizer fills texts up with `</s>`, so that each checkpoint of one was refused."""
    folder = tiny_models.make("siglip2", tmp_path / "siglip2")
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"pad_token": "<unk>"}))
    with monkeypatch.context() as then:
        then.setattr("picdesk.backbones.transformers.unusual_settings", lambda *_: {})
        before = Transformers(str(folder))
        weights = save(tmp_path / "checkpoint", before, {"logit_scale": torch.tensor(2.5)}, "seed: 0")
    backbone = Transformers(str(folder))
    assert backbone.trunk_fingerprint("text") != before.trunk_fingerprint("text")
    load(Checkpoint(weights), backbone)
    assert float(backbone.logit_scale.detach()) == 2.5
    backbone._preprocessing["text"]["max_length"] = 5
    with pytest.raises(ConfigError, match="the text trunk it was trained on"):
        load(Checkpoint(weights), backbone)


@pytest.mark.parametrize("names", [IDS, BOTH], ids=["ids", "mask"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_tower_that_reads_the_last_place_is_never_cut(side: str, names: list[str], tmp_path: Path) -> None:
    backbone = Transformers(str(siglip(tmp_path, side, names)))
    assert backbone.reads_padding
    wanted = library(tmp_path)
    for made in (embed_in_batches, trained_on):
        for size in (1, 2, 4):
            torch.testing.assert_close(made(backbone, size), wanted, atol=1e-5, rtol=0)


def test_features_that_were_cut_are_not_taken_for_those_that_are_not(tmp_path: Path) -> None:
    marked = Transformers(str(siglip(tmp_path, "right", BOTH)))
    rule = marked._preprocessing["text"]
    assert rule["never_cut"], "a store of before holds features of cut texts under what stands here without it"
    assert "never_cut" not in Transformers(str(siglip(tmp_path, "right", IDS)))._preprocessing["text"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["clip", "align", "blip"])
def test_towers_that_do_not_read_padding_are_cut(kind: str, side: str, tmp_path: Path) -> None:
    tiny_models.make(kind, tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": side}))
    backbone = Transformers(str(tmp_path))
    assert not backbone.reads_padding
    lengths = backbone.token_lengths(backbone.tokenize(TEXTS))
    assert len(set(lengths.tolist())) > 2, "short texts beside short ones"
    alone = embed_in_batches(backbone, 1)
    for made in (embed_in_batches, trained_on):
        torch.testing.assert_close(made(backbone, 4), alone, atol=1e-5, rtol=0)


POOLED = "return (self.words(input_ids) * mask).sum(1) / mask.sum(1)"
LAST_PLACE = (
    "return self.words(input_ids[:, -1])",
    "return (self.words(input_ids) * torch.linspace(0, 1, input_ids.shape[1])[:, None]).mean(1)",
)


@pytest.mark.parametrize("pooling", LAST_PLACE)
def test_a_tower_never_seen_before_is_asked(pooling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    plain = OwnCode(str(publish(tmp_path / "mean")), allow_code=True)
    assert not plain.reads_padding
    assert POOLED in CODE
    backbone = OwnCode(str(publish(tmp_path / "other", CODE.replace(POOLED, pooling))), allow_code=True, max_tokens=20)
    assert backbone.reads_padding
    torch.testing.assert_close(embed_in_batches(backbone, 4), embed_in_batches(backbone, 1), atol=1e-5, rtol=0)
    assert backbone.trunk_fingerprint("text") != plain.trunk_fingerprint("text")


@pytest.mark.parametrize("tokenizer_class", ["GemmaTokenizer", "PreTrainedTokenizerFast", "Siglip2Tokenizer"])
def test_siglip_2_sees_small_letters_whatever_its_tokenizer_is_called(tokenizer_class: str, tmp_path: Path) -> None:
    siglip(tmp_path, "right", IDS)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    if tokenizer_class != "Siglip2Tokenizer":
        content["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about | {"tokenizer_class": tokenizer_class}))
    (tmp_path / "processor_config.json").rename(tmp_path / "preprocessor_config.json")
    picture = json.loads((tmp_path / "preprocessor_config.json").read_text())["image_processor"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(picture))
    backbone = Transformers(str(tmp_path))
    small, large = (backbone.tokenize([text])["input_ids"] for text in ("a fox in the snow", "A Fox in the SNOW"))
    assert torch.equal(small, large)
    assert small.unique().numel() > 4, "the letters are known"


def test_siglip_1_keeps_its_own_cleaning(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    tiny_models.make("siglip", tmp_path)
    ours, theirs = Transformers(str(tmp_path)), hf.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["A Dog, runs!", "TWO children"]
    wanted = theirs(texts, padding="max_length", max_length=64, return_tensors="pt")["input_ids"]
    assert torch.equal(ours.tokenize(texts)["input_ids"], wanted)
