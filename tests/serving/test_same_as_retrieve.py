"""What the server answers is what `retrieve.py` writes down: the same ids, the same scores, to the last digit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doors import Ran, run
from tests.serving.conftest import client_of, desk_over, tiny
from tests.tiny import WORDS

Capture = pytest.CaptureFixture[str]


def questions(count: int) -> list[str]:
    """Texts of different lengths, none of which is in the data."""
    return [" ".join([WORDS[(i + n) % 8] for n in range(1 + i % 7)] + [f"it's {i}, really"]) for i in range(count)]


def retrieved(capfd: Capture, folder: Path, *overrides: str) -> list[list[tuple[str, float]]]:
    ran: Ran = run(capfd, folder / "out", "retrieve", f"paths.store={folder / 'retrieve'}", *overrides)
    assert ran.status == 0, ran.err
    return [[(one["id"], one["score"]) for one in row["results"]] for row in json.loads(ran.file("results.json"))]


def served(folder: Path, texts: list[str], overrides: tuple[str, ...], **asked: Any) -> list[list[tuple[str, float]]]:
    own = ("serve.rate=0", "serve.texts=500")
    with desk_over(folder, *overrides, *own) as desk, client_of(desk) as client:
        answer = client.post("/search", json={"texts": texts, **asked})
        assert answer.status_code == 200, answer.text
        return [[(one["id"], one["score"]) for one in found["results"]] for found in answer.json()["answers"]]


WAYS: dict[str, tuple[str, ...]] = {
    "flat": (),
    "hnsw": ("index=hnsw",),
    "reranked by words": ("reranker=lexical", "reranker.weight=0.4"),
    "hubs taken out": ("scores=csls",),
    "least": ("min_score=0.1",),
}


@pytest.mark.parametrize("way", WAYS)
def test_over_a_data_set(capfd: Capture, tmp_path: Path, way: str) -> None:
    texts = questions(12)
    (tmp_path / "asked.txt").write_text("\n".join(texts) + "\n")
    same = (*tiny(tmp_path), *WAYS[way])
    if way == "hubs taken out":
        same = (*(one for one in same if one != "split=all"), "split=random_70_10_20")
    wanted = retrieved(capfd, tmp_path, *same, f"queries={tmp_path / 'asked.txt'}", "top_k=15", "run_depth=15")
    assert sum(map(len, wanted)) > 50
    assert served(tmp_path, texts, (*same, "top_k=15"), top_k=15) == wanted


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_over_a_saved_index(capfd: Capture, tmp_path: Path, index: str) -> None:
    texts = questions(8)
    (tmp_path / "asked.txt").write_text("\n".join(texts) + "\n")
    folder = tmp_path / "index"
    made = (*tiny(tmp_path), f"index={index}", "task=index_build", f"index_dir={folder}")
    assert run(capfd, tmp_path / "out", "retrieve", f"paths.store={tmp_path / 'retrieve'}", *made).status == 0
    ask = (f"queries={tmp_path / 'asked.txt'}", "top_k=15", "run_depth=15")
    wanted = retrieved(capfd, tmp_path, f"index_dir={folder}", *ask)
    assert served(tmp_path, texts, (f"index_dir={folder}",), top_k=15) == wanted


def test_over_vectors_made_elsewhere(capfd: Capture, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = np.array([f"v{i:02}.png" for i in range(30)])
    np.savez(tmp_path / "given.npz", image_embeddings=vectors, image_names=names)
    texts = questions(8)
    (tmp_path / "asked.txt").write_text("\n".join(texts) + "\n")
    encoder = ("backbone=precomputed", "backbone.dim=8", "+backbone.text_encoder._target_=tests.tiny.Tiny")
    same = ("data=npz", f"data.root={tmp_path}", "data.file=given.npz", "split=all", "prompt=caption", *encoder)
    ask = (f"queries={tmp_path / 'asked.txt'}", "top_k=15", "run_depth=15")
    assert served(tmp_path, texts, same, top_k=15) == retrieved(capfd, tmp_path, *same, *ask)


def test_a_picture_and_several_pieces(capfd: Capture, tmp_path: Path) -> None:
    own = tiny(tmp_path)
    with desk_over(tmp_path, *own, "serve.rate=0") as desk, client_of(desk) as client:
        file = tmp_path / "asked.png"
        file.write_bytes(client.get("/images/p03").content)
        for find in ("pictures", "texts"):
            given = {"find": find, "top_k": "15"}
            answer = client.post("/search/image", files={"picture": ("asked.png", file.read_bytes())}, data=given)
            found = [(one["id"], one["score"]) for one in answer.json()["answers"][0]["results"]]
            ask = (f"image={file}", f"find={find}", "top_k=15", "run_depth=15")
            assert [found] == retrieved(capfd, tmp_path, *own, *ask)
        pieces = [{"text": "red it's"}, {"item": "p03"}, {"text": "night", "weight": -0.5}]
        answer = client.post("/search/combined", json={"pieces": pieces, "top_k": 15})
        found = [(one["id"], one["score"]) for one in answer.json()["answers"][0]["results"]]
        also = f"also=['image:{file}','-0.5:night']"
        ask = ("query=red it's", also, "top_k=15", "run_depth=15")
        assert [found] == retrieved(capfd, tmp_path, *own, *ask)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["flat", "hnsw", "captions", "captions and words", "captions as the bridge"])
def test_two_hundred_questions_to_the_real_towers(capfd: Capture, tmp_path: Path, small_data: Path, way: str) -> None:
    """MiniLM over 120 drawings. The server shares no store with the job: each text is encoded anew, in other company."""
    texts = [f"{text} in the news" for text in questions(200)]
    (tmp_path / "asked.txt").write_text("\n".join(texts) + "\n")
    own: dict[str, tuple[str, ...]] = {
        "flat": (),
        "hnsw": ("index=hnsw",),
        "captions": ("reranker=captions", "reranker.weight=0.3"),
        "captions and words": (
            *("reranker=several", "reranker.use=[captions,lexical]"),
            *("reranker.parts.captions.weight=0.2", "reranker.parts.lexical.weight=0.2"),
        ),
        "captions as the bridge": ("backbone=sentences", "prompt=title"),
    }
    same = (f"data.root={small_data}", "split=all", *own[way])
    wanted = retrieved(capfd, tmp_path, *same, f"queries={tmp_path / 'asked.txt'}", "top_k=20", "run_depth=20")
    found = served(tmp_path, texts, (*same, "top_k=20"), top_k=20)
    assert [[name for name, _ in row] for row in found] == [[name for name, _ in row] for row in wanted]
    both = np.array([[score for _, score in row] for row in found]) - [[score for _, score in row] for row in wanted]
    print(f"{way}: {np.abs(both).max():.2g} apart at most; {(both == 0).mean():.1%} equal to the last digit")
    assert np.abs(both).max() < 2e-6


@pytest.mark.slow
def test_asked_one_by_one_the_real_towers_give_the_same_bytes(capfd: Capture, tmp_path: Path, small_data: Path) -> None:
    texts = [f"{text} in the news" for text in questions(8)]
    same = (f"data.root={small_data}", "split=all")
    ask = ("top_k=20", "run_depth=20")
    wanted = [retrieved(capfd, tmp_path, *same, *ask, f"query={text}")[0] for text in texts]
    assert served(tmp_path, texts, (*same, "top_k=20"), top_k=20) == wanted
