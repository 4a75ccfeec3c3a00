"""The service under the HTTP: the same bytes alone and together, answers kept, generations that change whole."""

import asyncio
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from picdesk.backbones.lite import Lite
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from picdesk.errors import ConfigError
from picdesk.serving.batching import Hand
from picdesk.serving.bounded_memory import Kept
from picdesk.serving.desk import Desk
from picdesk.serving.folding import Folds
from picdesk.serving.questions import AskError, Options, Question, about_text
from picdesk.serving.served import Served
from tests.serving.conftest import client_of, desk_over, source_of, tiny
from tests.tiny import Tiny

SAID = "a ship at sea with a red sail before the harbour wall of an old town in the evening light"
WORDS = SAID.split(" ")
TEXTS = ["sea", *(" ".join(WORDS[: 1 + i % 12]) + f" {i}" for i in range(24))]


@pytest.mark.slow
def test_a_text_has_the_features_it_has_in_a_job_whoever_comes_with_it(tmp_path: Path) -> None:
    """MiniLM, the real one: bit for bit, through the store or not, alone or among others."""
    backbone = Lite()
    alone = np.concatenate([Encoder(Store(tmp_path / f"{i}")).texts(backbone, [text]) for i, text in enumerate(TEXTS)])
    standing = Standing(Store(tmp_path / "empty"))
    assert (standing.texts(backbone, TEXTS) == alone).all()
    assert standing.passed == len(TEXTS)
    if standing.agrees(backbone):  # by the processor's matrix products; else each goes alone
        assert standing.forwards < len(TEXTS), "those of one length together"
    assert (standing.texts(backbone, TEXTS[::-1]) == alone[::-1]).all()
    assert standing.passed == len(TEXTS), "what was made is kept"
    longer = [" ".join(WORDS[: 1 + i % 19]) + " x" * (i % 3) for i in range(40)]
    first, second = (Standing(Store(tmp_path / "empty")) for _ in range(2))
    each = np.concatenate([first.texts(backbone, [text]) for text in longer])
    assert (second.texts(backbone, longer) == each).all()
    assert second.forwards <= 2 or not second.agrees(backbone), "texts of any length together"
    assert not list((tmp_path / "empty").rglob("*.safetensors")), "and nothing of it is written down"
    Encoder(Store(tmp_path / "full")).texts(backbone, TEXTS)
    warm = Standing(Store(tmp_path / "full"))
    assert warm.texts(backbone, TEXTS).shape == alone.shape
    assert warm.forwards == 0, "what is in the store is not made again"


def test_a_tower_that_minds_company_is_asked_one_text_at_a_time(tmp_path: Path) -> None:
    """One that ends in a product with a row a text: its bits depend on how many rows there are."""
    from torch import nn

    class Projected(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.text_trunk = nn.Sequential(self.text_trunk, nn.Linear(16, 16)).requires_grad_(False)
            self.text_trunk.forward = lambda tokens: self.text_trunk[1](self.text_trunk[0](tokens=tokens))  # type: ignore[method-assign]

    for backbone in (Projected(), Tiny()):
        alone = np.concatenate(
            [Encoder(Store(tmp_path / f"{i}")).texts(backbone, [text]) for i, text in enumerate(TEXTS)]
        )
        standing = Standing(Store(tmp_path / "empty"))
        assert (standing.texts(backbone, TEXTS) == alone).all()
        assert (standing.forwards == len(TEXTS)) is not standing.agrees(backbone)


def test_what_is_kept_is_bounded_and_rounded_as_in_the_store(tmp_path: Path) -> None:
    backbone = Tiny()
    small = Standing(Store(tmp_path), storage="float16", latest=3)
    first = small.texts(backbone, TEXTS[:5])
    assert (first == first.astype(np.float16)).all()
    assert len(small._kept) == 3
    assert (small.texts(backbone, TEXTS[:5]) == first).all()


def test_kept_bytes_are_bounded_and_made_once() -> None:
    kept, made = Kept(100), []
    for i in range(10):
        kept.put(i, b"x" * 20)
    assert (len(kept), kept.size) == (5, 100)
    kept.put("large", b"x" * 26)
    assert kept.get("large") is None
    gate = threading.Event()

    def make() -> bytes:
        made.append(1)
        gate.wait(5)
        return b"thumb"

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(kept.get_or_make, "t", make) for _ in range(4)]
        time.sleep(0.05)
        gate.set()
        assert [one.result() for one in asked] == [b"thumb"] * 4
    assert made == [1]
    with pytest.raises(KeyError):
        kept.get_or_make("u", lambda: {}["x"])
    assert kept.get_or_make("u", lambda: b"now") == b"now", "a failure is not kept"


def test_questions_that_wait_are_encoded_together_and_one_fault_hurts_one(desk: Desk) -> None:
    sizes: list[int] = []
    gate, begun = threading.Event(), threading.Event()

    def compute(served: Served, question: Question) -> bytes:
        begun.set()
        gate.wait(5)
        if question.name == "bad":
            raise AskError("text", "bad")
        if question.name == "worse":
            raise ZeroDivisionError
        return question.name.encode()

    hand = Hand(compute, 1, sizes.append)
    first = hand.ask(desk.now, about_text("first", "pictures", Options()))
    begun.wait(5)
    names = ["one", "bad", "worse", "two"]
    rest = [hand.ask(desk.now, about_text(name, "pictures", Options())) for name in names]
    gate.set()
    assert first.result(5) == b"first"
    assert [rest[i].result(5) for i in (0, 3)] == [b"one", b"two"]
    assert isinstance(rest[1].exception(5), AskError)
    assert isinstance(rest[2].exception(5), ZeroDivisionError)
    assert sizes == [1, 4]
    hand.close()


def test_what_is_kept_is_looked_up_while_others_are_encoded(tmp_path: Path) -> None:
    """A forward pass that lasts keeps nobody from what is there."""
    backbone, gate, begun = Tiny(), threading.Event(), threading.Event()
    standing = Standing(Store(tmp_path))
    known = standing.texts(backbone, ["known"])

    def wait(*given: object) -> None:
        begun.set()
        gate.wait(5)

    standing._forward(backbone, "text").trunk.register_forward_pre_hook(wait)
    with ThreadPoolExecutor(2) as pool:
        fresh = pool.submit(standing.texts, backbone, ["fresh"])
        assert begun.wait(5)
        assert (pool.submit(standing.texts, backbone, ["known"]).result(2) == known).all()
        assert not fresh.done()
        gate.set()
        assert fresh.result(5).shape == known.shape


def test_a_pass_has_all_threads_wherever_it_is_asked_for(tmp_path: Path) -> None:
    """Torch gives a thread of Python that begins while another computes on one thread that one alone, for good."""
    import torch

    from picdesk.embedding.forward import use_threads

    seen: list[int] = []
    with use_threads(2):
        backbone, standing = Tiny(), Standing(Store(tmp_path))
        standing.prepare(backbone, "text")
        standing._forward(backbone, "text").trunk.register_forward_pre_hook(
            lambda *given: seen.append(torch.get_num_threads())
        )
        with use_threads(1), ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
            pool.submit(standing.texts, backbone, ["a text of many letters"]).result()
    assert seen == [2]


def test_several_encode_at_once_one_answers_and_the_end_waits_for_all(desk: Desk) -> None:
    begun, both, answering = threading.Event(), threading.Barrier(2, timeout=5), [0]

    class Slow:
        def warm(self, questions: list[Question]) -> None:
            begun.set()
            both.wait()

    def compute(served: Served, question: Question) -> bytes:
        answering[0] += 1
        assert answering[0] == 1, "one at a time"
        time.sleep(0.01)
        answering[0] -= 1
        return question.name.encode()

    hand = Hand(compute, 0, passes=2)
    slow: Any = Slow()
    first = hand.ask(slow, about_text("first", "pictures", Options()))
    assert begun.wait(5)
    second = hand.ask(slow, about_text("second", "pictures", Options()))
    assert [one.result(5) for one in (first, second)] == [b"first", b"second"]
    assert not both.broken, "both were at it together"
    later = [hand.ask(desk.now, about_text(f"red {i}", "pictures", Options())) for i in range(9)]
    hand.close()
    assert [one.result(0) for one in later] == [f"red {i}".encode() for i in range(9)]


def test_an_answer_waits_for_no_other_and_a_loop_is_woken_once(desk: Desk) -> None:
    gate, begun, woken = threading.Event(), threading.Event(), []

    def compute(served: Served, question: Question) -> bytes:
        if question.name == "first":
            begun.set()
        if question.name in ("first", "slow"):
            assert gate.wait(5)
            gate.clear()
        return question.name.encode()

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        plain = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *given, **more: (woken.append(1), plain(*given, **more))[1]  # type: ignore[method-assign]
        asked = {"first": hand.ask_in_loop(desk.now, about_text("first", "pictures", Options()))}
        await asyncio.to_thread(begun.wait, 5)
        asked |= {
            name: hand.ask_in_loop(desk.now, about_text(name, "pictures", Options()))
            for name in ("a", "b", "c", "slow", "left")
        }
        asked["left"].cancel()
        woken.clear()
        gate.set()
        time.sleep(0.3)  # the loop is busy: three answers and more wait for it
        assert [await asyncio.wait_for(asked[name], 1) for name in ("first", "a", "b", "c")] == [
            b"first",
            b"a",
            b"b",
            b"c",
        ]
        assert not asked["slow"].done(), "and they wait for no other"
        assert len(woken) <= 2
        gate.set()
        assert await asyncio.wait_for(asked["slow"], 5) == b"slow"

    hand = Hand(compute, 1)
    asyncio.run(ask())
    late = Hand(compute, 1)

    async def leave() -> None:
        late.ask_in_loop(desk.now, about_text("slow", "pictures", Options()))

    asyncio.run(leave())
    gate.set()
    assert late.ask(desk.now, about_text("d", "pictures", Options())).result(5) == b"d", "after a loop that has ended"
    hand.close()
    late.close()


def test_each_thread_begins_before_anything_is_asked(desk: Desk) -> None:
    begun: list[str] = []
    hand = Hand(lambda served, question: b"", 1, passes=3, begin=lambda: begun.append(threading.current_thread().name))
    assert sorted(begun) == ["answer", "encode 1", "encode 2", "encode 3"]
    hand.close()


def test_a_gallery_is_opened_while_nobody_tokenizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer keeps its last settings, and what is said of a gallery's texts is asked with others."""
    with desk_over(tmp_path, *tiny(tmp_path)) as desk:
        served, free = desk.now, []
        searcher = type(served.opened.searcher)
        plain = searcher.gallery

        def gallery(self: Any, find: Any = "pictures") -> Any:
            if find == "texts" and not free:
                with ThreadPoolExecutor(1) as pool:
                    free.append(pool.submit(served.standing.tokenizing.acquire, blocking=False).result())
            return plain(self, find)

        monkeypatch.setattr(searcher, "gallery", gallery)
        served.gallery("texts")
        assert free == [False]


def test_an_answer_is_kept_until_the_next_generation(tmp_path: Path) -> None:
    with desk_over(tmp_path, *tiny(tmp_path)) as desk:
        question = about_text("red picture 1", "pictures", desk.options(k=3))
        first = asyncio.run(desk.ask(question))
        passed = desk.now.standing.passed
        assert asyncio.run(desk.ask(question)) == first
        assert (desk.now.standing.passed, desk.answers.hits) == (passed, 1)
        before = desk.now
        desk.reload()
        assert desk.now.number > before.number
        assert desk.now.fingerprint == before.fingerprint, "nothing else lies there"
        assert asyncio.run(desk.ask(question)) == first


def test_a_new_index_takes_the_place_of_the_old_one_and_a_wrong_one_does_not(tmp_path: Path, capfd: Any) -> None:
    from tests.doors import run

    index = tmp_path / "index"

    def build(pictures: int, *more: str) -> None:
        import shutil

        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        shutil.rmtree(index, ignore_errors=True)
        overrides = (*tiny(tmp_path, pictures), f"index_dir={index}", f"paths.store={tmp_path / 'store'}", *more)
        ran = run(capfd, tmp_path / "out", "retrieve", "task=index_build", *overrides)
        assert ran.status == 0, ran.err

    build(20)
    with desk_over(tmp_path, f"index_dir={index}", "serve.rate=0") as desk, client_of(desk) as client:
        one = client.post("/search", json={"text": "red", "top_k": 40}).json()["answers"][0]
        assert len(one["results"]) == 20
        build(30)
        assert len(client.post("/search", json={"text": "red", "top_k": 40}).json()["answers"][0]["results"]) == 20
        assert client.post("/reload").status_code == 200
        two = client.post("/search", json={"text": "red", "top_k": 40}).json()["answers"][0]
        assert len(two["results"]) == 30
        assert two["fingerprint"] != one["fingerprint"]
        title = next(item["title"] for item in two["results"] if item["id"] == "p00")
        (tmp_path / "new").mkdir()
        Image.new("RGB", (8, 8), "red").save(tmp_path / "new" / "new0.png")
        for change in (
            ("task=index_add", "data=folder", f"data.root={tmp_path / 'new'}"),
            ("task=index_remove", "ids=[p00]"),
        ):
            ran = run(
                capfd, tmp_path / "out", "retrieve", *change, f"index_dir={index}", f"paths.store={tmp_path / 's'}"
            )
            assert ran.status == 0, ran.err
        of_one = client.post("/search", json={"text": "red", "top_k": 40, "filter": "id in ('p00', 'p01')"})
        assert {item["id"] for item in of_one.json()["answers"][0]["results"]} == {"p00", "p01"}, "what was opened"
        assert client.post("/reload").status_code == 200
        two = client.post("/search", json={"text": "red", "top_k": 40}).json()["answers"][0]
        ids = {item["id"] for item in two["results"]}
        assert (len(ids), "new0.png" in ids, "p00" in ids) == (30, True, False)
        assert [client.get(f"/{where}/p00").status_code for where in ("items", "images", "thumbs/small")] == [404] * 3
        shown = client.get("/", params={"q": title, "top_k": "40"}, headers={"accept": "text/html"}).text
        assert re.findall(r"true picture|small/(?:new0|p00)|like=new0", shown) == [], (
            "taken out, or not there to be seen"
        )
        assert shown.count("/thumbs/small/") == 29
        (index / "header.json").write_text("{}")
        refused = client.post("/reload")
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "reload")
        assert "nothing has changed" in refused.json()["errors"][0]["message"]
        assert client.post("/search", json={"text": "red", "top_k": 40}).json()["answers"][0] == two
        texts = client.post("/search", json={"text": "red", "find": "texts"})
        assert (texts.status_code, texts.json()["errors"][0]["field"]) == (422, "find"), "an index of pictures"


def test_answers_switch_whole_under_load(tmp_path: Path) -> None:
    """Every answer of one request is of one generation, and none fails, while generations come and go."""
    with desk_over(tmp_path, *tiny(tmp_path)) as desk:
        stop = threading.Event()

        def churn() -> None:
            while not stop.is_set():
                desk.reload()

        async def load() -> int:
            seen = set()
            for i in range(10):
                questions = [about_text(f"{i} {n}", "pictures", desk.options(k=2)) for n in range(5)]
                served = desk.now
                answers = [json.loads(part) for part in await asyncio.gather(*(desk.ask(q, served) for q in questions))]
                assert {answer["fingerprint"] for answer in answers} == {served.fingerprint}
                seen.add(served.number)
            return len(seen)

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            assert asyncio.run(load()) >= 1
        finally:
            stop.set()
            thread.join()
        desk._reloading.acquire()
        with pytest.raises(AskError, match="under way"):
            desk.reload()


def test_what_cannot_be_opened_is_told_before_anything_listens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="weight"):
        source_of(tmp_path, *tiny(tmp_path), "reranker=captions", "reranker.weight=2")[0].open()


def test_look_alikes_fold_into_the_best_of_them(desk: Desk) -> None:
    folds = Folds({desk.now.number: {"a": 0, "b": 0, "c": 1, "d": 1}})
    rows = [{"id": name, "rank": rank} for rank, name in enumerate("xabdcy", 1)]
    folded = folds.fold(desk.now, rows)
    assert [one["id"] for one in folded] == ["x", "a", "d", "y"]
    assert [[other["id"] for other in one.get("alike", [])] for one in folded] == [[], ["b"], ["c"], []]
    assert [one["rank"] for one in folded] == [1, 2, 4, 6], "ranks stay those of the whole list"
    assert rows[1] == {"id": "a", "rank": 2}


def test_look_alikes_are_found_by_their_pictures(tmp_path: Path) -> None:
    import shutil

    from picdesk.data.groups import see_all
    from tests.tiny import write_data

    def change(captions: list[str], contents: list[bytes]) -> None:
        contents[8:10] = contents[2:4]  # picture 4 is picture 1 again

    shutil.rmtree(tmp_path / "data", ignore_errors=True)
    write_data(tmp_path / "data", 6, change)
    with desk_over(tmp_path, *tiny(tmp_path)) as desk:
        question = about_text("red", "pictures", replace(desk.options(k=6), fold=True))
        early = json.loads(asyncio.run(desk.ask(question)))["results"]
        assert len(early) == 6, "asked before look-alikes are known"
        desk.folds.find(desk.now, 100, see_all)
        groups = desk.folds.group_of[desk.now.number]
        assert groups["p01"] == groups["p04"]
        found = json.loads(asyncio.run(desk.ask(question)))["results"]
        whole = [each["id"] for one in found for each in (one, *one.get("alike", []))]
        assert sorted(whole) == [f"p{i:02}" for i in range(6)]
        assert len(found) < 6
