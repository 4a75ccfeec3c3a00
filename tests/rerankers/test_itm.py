"""BLIP's matching model with random weights, saved as published ones are, against the library's own forward pass."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from picdesk.errors import ConfigError, DataError, UserError
from picdesk.interfaces import Direction
from picdesk.rerankers.itm import Itm, by_picture
from picdesk.search.fusion import WeightedSum
from tests.backbones.tiny_models import SMALL, VISION, bert_tokenizer, save
from tests.rerankers.helpers import context_of, noise_picture, run_over

TEXTS = ["a dog runs", "a red ball", "two cats on a mat", "night"]
PICTURES = [noise_picture(i) for i in range(5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("itm")
    tokenizer = bert_tokenizer()
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = hf.BlipConfig(text_config=text, vision_config=VISION, projection_dim=24, image_text_hidden_size=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.BlipForImageTextRetrieval(config)
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.2)
    save(place, model, hf.BlipProcessor(hf.BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer))
    return place


def own_reranker(folder: Path, **settings: object) -> Itm:
    defaults: dict[str, object] = {"picture_size": 32, "first_token": None, "batch_size": 3}
    return Itm(str(folder), **(defaults | settings))  # type: ignore[arg-type]


@cache
def library(folder: Path) -> tuple[Any, Any]:
    """The library's own model and processor."""
    return hf.BlipForImageTextRetrieval.from_pretrained(folder).eval(), hf.BlipProcessor.from_pretrained(folder)


def by_the_library(folder: Path, text: str, picture: bytes, use_head: bool) -> torch.Tensor:
    """The library's own forward pass of one pair."""
    model, processor = library(folder)
    image = context_of(run_over([[0]], 1), ["x"], [b""]).embedder.decode(picture)  # type: ignore[union-attr]
    inputs = processor(
        images=image, text=text, padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    with torch.inference_mode():
        out: torch.Tensor = model(**inputs, use_itm_head=use_head)[0]
    return out[0]


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_parity_with_the_librarys_own_forward_pass(folder: Path, direction: Direction, score: str) -> None:
    run = run_over([[3, 0, 1], [2, 3, -1]], 5 if direction == "t2i" else 4)
    texts, pictures = (TEXTS[:2], PICTURES) if direction == "t2i" else (TEXTS, PICTURES[:2])
    scores = own_reranker(folder, score=score).score(run, context_of(run, texts, pictures, direction))
    for query, place in zip(*np.nonzero(run.index >= 0), strict=True):
        item = int(run.index[query, place])
        text, picture = (texts[query], pictures[item]) if direction == "t2i" else (texts[item], pictures[query])
        logits = by_the_library(folder, text, picture, True)
        match = logits[1] if score == "logit" else torch.softmax(logits, 0)[1]
        expected = float(match + by_the_library(folder, text, picture, False)[0])
        assert scores[query, place] == pytest.approx(expected, abs=2e-5)
    assert np.isnan(scores[1, 2])


def test_without_similarity_it_is_the_logit_alone(folder: Path) -> None:
    run = run_over([[1]], 5)
    scores = own_reranker(folder, add_similarity=False).score(run, context_of(run, TEXTS[:1], PICTURES))
    assert scores[0, 0] == pytest.approx(float(by_the_library(folder, TEXTS[0], PICTURES[1], True)[1]), abs=2e-5)


def test_a_damaged_model_is_not_taken_for_one_that_scores_nothing(folder: Path) -> None:
    reranker, run = own_reranker(folder), run_over([[0, 1]], 5)
    reranker._parts[0].model.itm_head.weight.data.fill_(torch.nan)
    with pytest.raises(
        DataError, match=r"^scores of reranker\.model=.*: 1 of 1 are not finite; the weights are damaged"
    ):
        reranker.score(run, context_of(run, TEXTS[:1], PICTURES))


def test_the_first_token_is_replaced_for_matching_alone(folder: Path) -> None:
    run = run_over([[1, 2]], 5)
    context = context_of(run, TEXTS[:1], PICTURES)
    plain, marked = own_reranker(folder).score(run, context), own_reranker(folder, first_token=6).score(run, context)
    assert np.abs(plain - marked).min() > 1e-4
    with pytest.raises(ConfigError, match="first_token=30523"):
        own_reranker(folder, first_token=30523).score(run, context)


def test_defect_a_pairs_are_batched_and_each_picture_is_encoded_once(folder: Path) -> None:
    """System A went through pictures one by one for each query, and its fallback changed nothing."""
    run = run_over([[0, 1, 2]] * 4, 5)
    reranker = own_reranker(folder)
    scores = reranker.score(run, context_of(run, TEXTS, PICTURES))
    assert reranker.counts == {"itm_pictures": 3, "itm_pairs": 12}
    alone = own_reranker(folder, batch_size=1).score(run, context_of(run, TEXTS, PICTURES))
    assert scores == pytest.approx(alone, abs=2e-5), "the size of a batch changes nothing"
    fused = WeightedSum().fuse(run, [scores], [1.0])
    assert (fused.index != run.index).any(), "a second stage that changes no order would be none"


def test_every_pair_is_visited_once() -> None:
    run = run_over([[3, 0, 1], [0, 3, -1]], 4)
    seen = [
        (picture, tuple(cell), int(text))
        for picture, cells, texts in by_picture(run, True)
        for cell, text in zip(cells, texts, strict=True)
    ]
    assert sorted(seen) == [(0, (0, 1), 0), (0, (1, 0), 1), (1, (0, 2), 0), (3, (0, 0), 0), (3, (1, 1), 1)]


def test_a_folder_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    run = run_over([[0]], 5)
    context = context_of(run, TEXTS[:1], PICTURES)
    with pytest.raises(ConfigError, match="picture_size=384"):
        own_reranker(folder, picture_size=384).score(run, context)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"reranker\.model"):
        own_reranker(tmp_path).score(run, context)
    with pytest.raises(ConfigError, match=r"reranker\.score=best"):
        own_reranker(folder, score="best")


def test_the_fingerprint_follows_files_and_settings(folder: Path) -> None:
    context = context_of(run_over([[0]], 5), TEXTS[:1], PICTURES)
    marks = [
        own_reranker(folder, **s).fingerprint(context)
        for s in ({}, {"weight": 0.7}, {"batch_size": 1}, {"score": "probability"})
    ]
    assert marks[0] == marks[1] == marks[2] != marks[3]


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("blip2")
    tokenizer = bert_tokenizer()
    asking = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32}
    config = hf.Blip2Config(
        vision_config=VISION,
        qformer_config=asking | {"use_qformer_text_input": True},
        text_config=hf.OPTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=40).to_dict(),
        num_query_tokens=4,
        image_text_hidden_size=16,
    )
    config.image_token_index = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.Blip2ForImageTextRetrieval(config)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.2)
    save(place, model, hf.BlipProcessor(hf.BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer))
    return place


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_blip_2_is_the_librarys_own_forward_pass(blip2: Path, direction: Direction) -> None:
    run = run_over([[3, 0, 1], [2, 3, -1]], 5 if direction == "t2i" else 4)
    texts, pictures = (TEXTS[:2], PICTURES) if direction == "t2i" else (TEXTS, PICTURES[:2])
    reranker = own_reranker(blip2)
    scores = reranker.score(run, context_of(run, texts, pictures, direction))
    library, (_, processor, tokenizer) = hf.Blip2ForImageTextRetrieval.from_pretrained(blip2).eval(), reranker._parts
    for query, place in zip(*np.nonzero(run.index >= 0), strict=True):
        item = int(run.index[query, place])
        text, picture = (texts[query], pictures[item]) if direction == "t2i" else (texts[item], pictures[query])
        image = context_of(run_over([[0]], 1), ["x"], [b""]).embedder.decode(picture)  # type: ignore[union-attr]
        given = tokenizer(text, return_tensors="pt") | processor(images=image, return_tensors="pt")
        with torch.inference_mode():
            told = {name: given[name] for name in ("input_ids", "attention_mask", "pixel_values")}
            match = library(**told, use_image_text_matching_head=True).logits_per_image[0, 1]
            expected = float(match + library(**told, use_image_text_matching_head=False).logits_per_image[0, 0])
        assert scores[query, place] == pytest.approx(expected, abs=1e-5)
    alone = own_reranker(blip2, batch_size=1).score(run, context_of(run, texts, pictures, direction))
    assert scores == pytest.approx(alone, abs=1e-5, nan_ok=True)
    with pytest.raises(ConfigError, match=r"reranker\.first_token=6: BLIP-2 has no such token"):
        own_reranker(blip2, first_token=6).score(run, context_of(run, texts, pictures, direction))
