"""What the server answers is what `retrieve.py` finds: the same ids, and the same scores to the last digit.

`retrieve.py query=TEXT` asks one text, and so does the server, whoever asks beside it. Where a file of queries goes through the
towers as one matrix, products are cut another way, and last digits of scores differ; the ids never do.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from picdesk.assembly import saved_index, schema
from picdesk.assembly.command_line import in_tasks
from picdesk.assembly.named import use_overrides
from picdesk.assembly.session import Session
from picdesk.interfaces import Side
from picdesk.readers.queries import bare
from picdesk.retrieval.gallery import Gallery
from picdesk.retrieval.searcher import rows_of
from picdesk.serving.commands import command_of
from picdesk.serving.page import asked_of as asked_on_the_page
from picdesk.tasks.retrieve import asked_of, gallery_of
from tests.doors import run
from tests.serving.conftest import client_of, desk_over, tiny
from tests.tiny import WORDS

Capture = pytest.CaptureFixture[str]
Lists = list[list[tuple[str, float]]]
LISTED = 15


def questions(count: int) -> list[str]:
    """Texts of different lengths, none of which is in the data."""
    return [" ".join([WORDS[(i + n) % 8] for n in range(1 + i % 7)] + [f"it's {i}, really"]) for i in range(count)]


def retrieve_lists(folder: Path, texts: list[str], *overrides: str) -> Lists:
    """One text after the other through the functions of `retrieve.py`, with a store of its own; no job is written down."""
    named = [*overrides, f"top_k={LISTED}", f"run_depth={LISTED}", "plugins=[tests]", "logger=none", "query=any"]
    named += [f"paths.outputs={folder / 'out'}", f"paths.store={folder / 'retrieve'}"]
    named = in_tasks(named, schema.top_keys(), schema.task_keys())
    schema.register()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"), use_overrides(named):
        start = Session(compose("retrieve", overrides=named)).with_plugins()
        index = Path(start.cfg.task.index_dir) if start.cfg.task.index_dir else None
        session = saved_index.session_of(start, index) if index else start.open(whole=True, asked=True)
        gallery = saved_index.gallery_in(session, index, "t2i") if index else gallery_of(session, "t2i", None)
        asked = [asked_of(session, gallery, [bare("q1", text)], b"", [], bool(index)) for text in texts]
        return [list_items(session, gallery, one) for one in asked]


def list_items(session: Session, gallery: Gallery, asked: Side) -> list[tuple[str, float]]:
    rows = rows_of(session.system.search(asked, gallery), gallery, [""])[0]
    return [(row.id, row.score) for row in rows]


LENGTH = (f"top_k={LISTED}", f"run_depth={LISTED}")


def through_the_door(capfd: Capture, folder: Path, *overrides: str, listed: tuple[str, ...] = LENGTH) -> Lists:
    ran = run(capfd, folder / "out", "retrieve", *overrides, f"paths.store={folder / 'door'}", *listed)
    assert ran.status == 0, ran.err
    return [[(one["id"], one["score"]) for one in row["results"]] for row in json.loads(ran.file("results.json"))]


def serve_lists(folder: Path, texts: list[str], *overrides: str, **asked: Any) -> Lists:
    own = ("serve.rate=0", "serve.texts=500", "serve.timeout_s=600", f"top_k={LISTED}")
    with desk_over(folder, *overrides, *own) as desk, client_of(desk) as client:
        answer = client.post("/search", json={"texts": texts, "top_k": LISTED, **asked})
        assert answer.status_code == 200, answer.text
        return [[(one["id"], one["score"]) for one in found["results"]] for found in answer.json()["answers"]]


def largest_distance(found: Lists, wanted: Lists) -> float:
    """How far scores are apart at most; the ids are the same."""
    assert [[name for name, _ in row] for row in found] == [[name for name, _ in row] for row in wanted]
    return max(
        abs(a - b) for one, two in zip(found, wanted, strict=True) for (_, a), (_, b) in zip(one, two, strict=True)
    )


def ids_by(vectors: np.ndarray) -> list[str]:
    """The ids by their cosine with the eighth."""
    return [f"v{i:02}.png" for i in np.argsort(-(vectors @ vectors[7]), kind="stable")]


WAYS: dict[str, tuple[str, ...]] = {
    "flat": (),
    "hnsw": ("index=hnsw",),
    "reranked by words": ("reranker=lexical", "reranker.weight=0.4"),
    "hubs taken out": ("scores=csls", "split=random_70_10_20"),
}


@pytest.mark.parametrize("way", ["flat", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "flat")])
def test_over_a_data_set(tmp_path: Path, way: str) -> None:
    same = (*(one for one in tiny(tmp_path) if way != "hubs taken out" or one != "split=all"), *WAYS[way])
    wanted = retrieve_lists(tmp_path, questions(12), *same)
    assert sum(map(len, wanted)) == 12 * LISTED
    assert serve_lists(tmp_path, questions(12), *same) == wanted


def test_through_the_door(capfd: Capture, tmp_path: Path) -> None:
    own, texts = tiny(tmp_path), questions(6)
    (tmp_path / "asked.txt").write_text("\n".join(texts) + "\n")
    found = serve_lists(tmp_path, texts, *own)
    assert found[1:2] == through_the_door(capfd, tmp_path, *own, f"query={texts[1]}")
    assert largest_distance(found, through_the_door(capfd, tmp_path, *own, f"queries={tmp_path / 'asked.txt'}")) < 1e-6


@pytest.mark.parametrize(
    "asked",
    [
        {"q": "red it's"},
        {"q": "12:30 warm", "minus": "2:night", "min_score": "-0.123456789"},
        {"q": "blue", "find": "texts"},
    ],
)
def test_the_command_beside_an_answer_gives_it(capfd: Capture, tmp_path: Path, asked: dict[str, str]) -> None:
    with desk_over(tmp_path, *tiny(tmp_path), "serve.rate=0") as desk, client_of(desk) as client:
        shown = client.get("/results.json", params={**asked, "top_k": "3"}).json()["answers"][0]["results"]
        given = asked_on_the_page(desk, {**asked, "top_k": "3"})
        words = shlex.split(command_of(desk.now, given.questions[0]))
    found = through_the_door(capfd, tmp_path, *words[2:], "plugins=[tests]", listed=())
    assert found == [[(one["id"], one["score"]) for one in shown]]
    assert len(shown) == 3


@pytest.mark.parametrize("index", ["flat", pytest.param("hnsw", marks=pytest.mark.slow)])
def test_over_a_saved_index(capfd: Capture, tmp_path: Path, index: str) -> None:
    folder = tmp_path / "index"
    made = (*tiny(tmp_path), f"index={index}", "task=index_build", f"index_dir={folder}")
    assert run(capfd, tmp_path / "out", "retrieve", f"paths.store={tmp_path / 'retrieve'}", *made).status == 0
    wanted = retrieve_lists(tmp_path, questions(8), f"index_dir={folder}")
    assert serve_lists(tmp_path, questions(8), f"index_dir={folder}") == wanted


def test_over_vectors_made_elsewhere(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.savez(
        tmp_path / "given.npz", image_embeddings=vectors, image_names=np.array([f"v{i:02}.png" for i in range(30)])
    )
    (tmp_path / "captions.csv").write_text("image,caption\n" + "".join(f"v{i:02}.png,it is {i}\n" for i in range(30)))
    encoder = ("backbone=precomputed", "backbone.dim=8", "+backbone.text_encoder._target_=tests.tiny.Tiny")
    same = (
        "data=npz",
        f"data.root={tmp_path}",
        "data.file=given.npz",
        "data.text_array=null",
        "split=all",
        "prompt=caption",
        *encoder,
    )
    assert serve_lists(tmp_path, questions(8), *same) == retrieve_lists(tmp_path, questions(8), *same)
    with desk_over(tmp_path, *same, "serve.rate=0") as desk, client_of(desk) as client:
        pieces = [{"item": "v07.png"}]
        found = client.post("/search/combined", json={"pieces": pieces}).json()["answers"][0]["results"]
        assert [one["id"] for one in found[:2]] == ["v07.png", ids_by(vectors)[1]], (
            "more like one whose file is not there"
        )
        assert found[0]["score"] == pytest.approx(1, abs=1e-6)
        page = client.get("/", params={"like": "v07.png"}, headers={"accept": "text/html"})
        assert (page.status_code, "more like this" in page.text) == (200, True)


@pytest.mark.slow
def test_a_picture_and_several_pieces(capfd: Capture, tmp_path: Path) -> None:
    own, file, found = tiny(tmp_path), tmp_path / "asked.png", []
    with desk_over(tmp_path, *own, "serve.rate=0") as desk, client_of(desk) as client:
        file.write_bytes(client.get("/images/p03").content)
        pieces = [{"text": "red it's"}, {"item": "p03"}, {"text": "night", "weight": -0.5}]
        for answer in (
            client.post(
                "/search/image", files={"picture": file.read_bytes()}, data={"find": "pictures", "top_k": LISTED}
            ),
            client.post("/search/image", files={"picture": file.read_bytes()}, data={"find": "texts", "top_k": LISTED}),
            client.post("/search/combined", json={"pieces": pieces, "top_k": LISTED}),
        ):
            found += [[(one["id"], one["score"]) for one in answer.json()["answers"][0]["results"]]]
    assert found[:1] == through_the_door(capfd, tmp_path, *own, f"image={file}", "find=pictures")
    assert found[1:2] == through_the_door(capfd, tmp_path, *own, f"image={file}")
    also = f"also=['image:{file}','-0.5:night']"
    assert found[2:] == through_the_door(capfd, tmp_path, *own, "query=red it's", also)


REAL: dict[str, tuple[str, ...]] = {
    "flat": (),
    "hnsw": ("index=hnsw",),
    "captions": ("reranker=captions", "reranker.weight=0.3"),
    "captions and words": (
        *("reranker=several", "reranker.use=[captions,lexical]"),
        *("reranker.parts.captions.weight=0.2", "reranker.parts.lexical.weight=0.2"),
    ),
    "captions as the bridge": ("backbone=sentences", "prompt=title"),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", REAL)
def test_two_hundred_questions_to_the_real_towers(tmp_path: Path, small_data: Path, way: str) -> None:
    """MiniLM over 120 drawings. The server shares no store with the job: each text is encoded anew, in other company.

    A reranker that compares captions has them encoded by the job in whatever batches they first come up in, so last digits of
    its scores depend on what the store held before; over the same store they are the same here too.
    """
    texts = [f"{text} in the news" for text in questions(200)]
    same = (f"data.root={small_data}", "split=all", *REAL[way])
    wanted = retrieve_lists(tmp_path, texts, *same)
    if "captions" in way and "bridge" not in way:
        assert largest_distance(serve_lists(tmp_path, texts, *same), wanted) < 2e-6
        same = (*same, f"paths.store={tmp_path / 'retrieve'}")
    assert serve_lists(tmp_path, texts, *same) == wanted
