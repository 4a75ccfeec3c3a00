"""The API: what it gives, and what it says to what it cannot take."""

import base64
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image
from starlette.testclient import TestClient

from picdesk.serving.desk import Desk
from tests.serving.conftest import client_of, desk_over


def picture(colour: tuple[int, int, int] = (200, 30, 40), side: int = 12, height: int | None = None) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, height or side), colour).save(stream, "png")
    return stream.getvalue()


def bomb(side: int = 50_000) -> bytes:
    """A PNG that says it has 2,500,000,000 pixels, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def ask(client: TestClient, **asked: Any) -> list[dict[str, Any]]:
    answer = client.post("/search", json=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["answers"]
    return found


def test_a_text_finds_pictures_and_the_true_one_is_marked(client: TestClient) -> None:
    (found,) = ask(client, text="  blue warm picture 2 ", top_k=40)
    assert [one["rank"] for one in found["results"]] == list(range(1, 41))
    scores = [one["score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert set(found["results"][0]) == {"id", "score", "rank", "title", "file", "columns"}
    caption = client.get("/items/p07").json()["title"]
    (known,) = ask(client, text=caption.upper(), top_k=40)
    assert known["true_picture"] == "p07"
    assert known["results"][known["true_rank"] - 1]["id"] == "p07"
    (cut,) = ask(client, text=caption, top_k=1) if known["true_rank"] > 1 else ({"true_rank": None},)
    assert cut["true_rank"] is None


def test_several_texts_and_articles_keep_their_order_and_ids(client: TestClient) -> None:
    texts = ["red picture 1", "green picture 2", "red picture 1"]
    found = ask(client, texts=texts)
    assert [one["query"] for one in found] == texts
    assert [one["query_id"] for one in found] == ["q1", "q2", "q3"]
    assert found[0]["results"] == found[2]["results"] == ask(client, text=texts[0])[0]["results"]
    articles = [{"title": "red picture 1", "tags": ["a", "b"], "id": "mine", "picture_id": "p09"}]
    (one,) = ask(client, articles=articles, top_k=40)
    assert (one["query_id"], one["true_picture"]) == ("mine", "p09")
    assert one["results"][one["true_rank"] - 1]["id"] == "p09"


def test_min_score_leaves_out_what_is_less_alike(client: TestClient) -> None:
    (all_of_them,) = ask(client, text="dark picture 3", top_k=40)
    least = all_of_them["results"][4]["score"]
    (some,) = ask(client, text="dark picture 3", top_k=40, min_score=least)
    assert some["results"] == all_of_them["results"][:5]
    (none,) = ask(client, text="dark picture 3", min_score=2)
    assert none["results"] == []


def test_a_filter_says_what_may_be_found(client: TestClient) -> None:
    (some,) = ask(client, text="dark picture 3", top_k=40, filter="caption contains 'red'")
    assert 0 < len(some["results"]) < 40
    (whole,) = ask(client, text="dark picture 3", top_k=40)
    ids = [one["id"] for one in whole["results"]]
    assert [ids.index(one["id"]) for one in some["results"]] == sorted(ids.index(one["id"]) for one in some["results"])
    (none,) = ask(client, text="dark picture 3", filter="caption = 'nothing says this'")
    assert none["results"] == []
    (one,) = ask(client, text="dark picture 3", filter="id in ('p03', 'p05')")
    assert {found["id"] for found in one["results"]} == {"p03", "p05"}
    for wrong in ("colour = 'red'", "caption ==", "caption = 'a", "(" * 500, "__import__('os')"):
        refused = client.post("/search", json={"text": "red", "filter": wrong})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "filter"), wrong


def test_a_picture_finds_pictures_and_texts(client: TestClient) -> None:
    own = client.get("/images/p05")
    assert (own.status_code, own.headers["content-type"]) == (200, "image/png")
    for find, wanted in (("pictures", "p05"), ("texts", None)):
        answer = client.post("/search/image", files={"picture": ("../../x y.png", own.content)}, data={"find": find})
        (found,) = answer.json()["answers"]
        assert (found["find"], found["query"], len(found["results"])) == (find, "x y.png", 6)
        assert wanted in (None, found["results"][0]["id"])


def test_a_combined_query_is_the_weighted_sum(client: TestClient) -> None:
    text, minus = "red warm picture 0", "blue picture 2"
    own = {"item": "p05", "weight": 1}
    parts = [{"text": text}, own, {"text": minus, "weight": -0.5}]
    answers = {
        "all": client.post("/search/combined", json={"pieces": parts, "top_k": 40}).json()["answers"][0],
        "text": ask(client, text=text, top_k=40)[0],
        "minus": ask(client, text=minus, top_k=40)[0],
        "item": client.post("/search/combined", json={"pieces": [own], "top_k": 40}).json()["answers"][0],
    }
    score = {name: {one["id"]: one["score"] for one in found["results"]} for name, found in answers.items()}
    ratios = [
        (score["text"][name] + score["item"][name] - 0.5 * score["minus"][name]) / value
        for name, value in score["all"].items()
        if abs(value) > 0.05
    ]
    assert len(ratios) > 10
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)
    sent = base64.b64encode(client.get("/images/p05").content).decode()
    again = client.post("/search/combined", json={"pieces": [{"picture": sent}], "top_k": 40}).json()["answers"][0]
    assert again["results"] == answers["item"]["results"]


def test_items_and_pictures_are_given_by_id_alone(client: TestClient) -> None:
    item = client.get("/items/p05").json()
    assert (item["kind"], item["image"], item["thumbnail"]) == ("picture", "/images/p05", "/thumbs/small/p05")
    thumb = client.get(item["thumbnail"])
    assert (thumb.headers["content-type"], Image.open(io.BytesIO(thumb.content)).size) == ("image/jpeg", (12, 12))
    assert client.get(item["thumbnail"], headers={"if-none-match": thumb.headers["etag"]}).status_code == 304
    for path in ("../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "p05%00", "/etc/passwd", "nobody"):
        for route in ("items", "images", "thumbs/small"):
            answer = client.get(f"/{route}/{path}")
            assert answer.status_code == 404, path
            assert answer.json()["errors"][0]["message"]
    assert client.get("/thumbs/huge/p05").json()["errors"][0]["field"] == "size"


ODD = ("a\nb.png", "a b/c?d#e.png", "100% of it.png", "\nfirst.png", "é\r\n.png", " blank.png")


def test_an_id_may_hold_whatever_a_name_of_a_file_may(tmp_path: Path) -> None:
    for i, name in enumerate(ODD):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(picture((20 * i, 200, 90)))
    own = ("data=folder", f"data.root={tmp_path / 'data'}", "split=all", "backbone._target_=tests.tiny.Tiny")
    with desk_over(tmp_path, *own, "serve.rate=0") as desk, client_of(desk) as client:
        (found,) = ask(client, text="red")
        assert sorted(one["id"] for one in found["results"]) == sorted(ODD)
        for name in ODD:
            item = client.get(f"/items/{quote(name)}").json()
            assert item.get("id") == name, item
            assert client.get(item["image"]).content == (tmp_path / "data" / name).read_bytes()
            assert client.get(item["thumbnail"]).headers["content-type"] == "image/jpeg"
            like = client.get("/results.json", params={"like": name}).json()["answers"][0]
            assert like["results"][0]["id"] == name


WRONG: dict[str, tuple[Any, int, str]] = {
    "no text": ({"text": "  "}, 422, "text"),
    "no way": ({}, 422, "body"),
    "two ways": ({"text": "a", "texts": ["b"]}, 422, "body"),
    "an empty one": ({"texts": ["a", ""]}, 422, "texts[1]"),
    "too many": ({"texts": ["a"] * 6}, 413, "texts"),
    "long": ({"text": "a" * 10_000}, 422, "text"),
    "NUL": ({"text": "a\0b"}, 422, "text"),
    "half a character": ({"text": "a\ud800"}, 422, "text"),
    "half a reranker": ({"text": "a", "weights": {"\ud800": 0.1}}, 422, "weights.\\ud800"),
    "a number": ({"text": 3}, 422, "text"),
    "a list": ({"text": ["a"]}, 422, "text"),
    "none listed": ({"text": "a", "top_k": 0}, 422, "top_k"),
    "as many as true": ({"text": "a", "top_k": True}, 422, "top_k"),
    "a score of false": ({"text": "a", "min_score": False}, 422, "min_score"),
    "too many listed": ({"text": "a", "top_k": 1000}, 422, "top_k"),
    "a score that is none": ({"text": "a", "min_score": "high"}, 422, "min_score"),
    "an unknown key": ({"text": "a", "topk": 3}, 422, "topk"),
    "an unknown reranker": ({"text": "a", "weights": {"nobody": 0.5}}, 422, "weights.nobody"),
    "a weight of 2": ({"text": "a", "weights": {"nobody": 2}}, 422, "weights.nobody"),
    "another find": ({"text": "a", "find": "films"}, 422, "find"),
    "a tag that is none": ({"articles": [{"title": "a", "tags": [""]}]}, 422, "articles[0].tags[0]"),
    "no object": ([1, 2], 422, "body"),
    "null": (None, 422, "body"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_the_field(client: TestClient, name: str) -> None:
    body, status, field = WRONG[name]
    answer = client.post("/search", content=json.dumps(body).encode(), headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field, answer.text
    assert answer.json()["errors"][0]["message"]


COMBINED: dict[str, tuple[Any, str]] = {
    "nothing": ([], "pieces"),
    "only minus": ([{"text": "a", "weight": -1}], "pieces"),
    "no weight": ([{"text": "a", "weight": 0}], "pieces[0].weight"),
    "weights beyond float32": ([{"text": "a", "weight": 1e300}, {"text": "b", "weight": 1e300}], "pieces[0].weight"),
    "a weight that leaves nothing of it": ([{"text": "a"}, {"text": "b", "weight": -1e-9}], "pieces[1].weight"),
    "no item": ([{"text": "a"}, {"item": "../x"}], "pieces[1].item"),
    "no base64": ([{"picture": "!!"}], "pieces[0].picture"),
    "an address": ([{"picture": "http://169.254.169.254/"}], "pieces[0].picture"),
    "no picture": ([{"text": "a"}, {"picture": base64.b64encode(b"hello").decode()}], "pieces[1].picture"),
    "a weight that is no number": ([{"text": "a", "weight": True}], "pieces[0].weight"),
    "both": ([{"text": "a", "item": "p05"}], "pieces[0]"),
    "what cancels out": ([{"text": "a"}, {"text": "a", "weight": -1}], "pieces"),
}


@pytest.mark.parametrize("name", COMBINED)
def test_a_combined_query_that_cannot_be(client: TestClient, name: str) -> None:
    pieces, field = COMBINED[name]
    answer = client.post("/search/combined", json={"pieces": pieces})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


HOSTILE: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 422),
    "a text": (b"hello", 422),
    "a page": (b"<html><script>alert(1)</script>", 422),
    "a drawing with a script": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', 422),
    "a cut one": (picture(side=64)[:90], 422),
    "a bomb": (bomb(), 413),
    "a line that resizing would blow up": (picture(side=60_000, height=1), 413),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run", 422),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_is_refused(client: TestClient, name: str) -> None:
    content, status = HOSTILE[name]
    answer = client.post("/search/image", files={"picture": ("a.png", content)})
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == "picture"
    assert client.get("/ready").status_code == 200


def test_a_large_body_is_refused_whether_it_says_so_or_not(client: TestClient) -> None:
    large = b"x" * (1 << 20) + b"y"
    told = client.post("/search", content=large)
    assert (told.status_code, told.json()["errors"][0]["field"]) == (413, "body")

    def pieces() -> Any:
        yield from (b"x" * 65536 for _ in range(20))

    streamed = client.post("/search", content=pieces(), headers={"content-type": "application/json"})
    assert streamed.status_code == 413
    part = client.post("/search/image", files={"picture": ("a.png", large)})
    assert part.status_code == 413


def test_broken_json_and_wrong_types_of_body(client: TestClient) -> None:
    wanted, no_json = "application/json is wanted", "no JSON at character 9: "
    for content, kind, status, field, told in (
        (b"{", "application/json", 422, "body", "no JSON at character 1: "),
        (b'{"text": red}', "application/json", 422, "body", no_json),
        (b"\xff\xfe", "application/json", 422, "body", "no JSON"),
        (b"a=1", "text/plain", 415, "Content-Type", f"'text/plain': {wanted}"),
        (b'{"text": "red"}', "", 415, "Content-Type", f"'': {wanted}"),
        (b"", "", 422, "body", ""),
        ('{"text": "é"}'.encode("latin-1"), "application/json; charset=iso-8859-1", 400, "body", "not in UTF-8"),
        (b"[" * 50_000 + b"]" * 50_000, "application/json", 400, "body", "no JSON that can be read: nested too deep"),
        (b'{"text": "a", "top_k": %s}' % (b"9" * 5000), "application/json", 400, "body", "no JSON that can be read"),
    ):
        answer = client.post("/search", content=content, headers={"content-type": kind})
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["field"], fault["message"][: len(told)]) == (status, field, told), content
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = client.post("/search", content=gzip.compress(b'{"text": "red"}'), headers=packed)
    told = {"field": "Content-Encoding", "message": "'gzip': a body is sent as it is"}
    assert (answer.status_code, answer.json()["errors"]) == (415, [told])
    answer = client.post("/search/image", json={"picture": "a"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (415, "Content-Type")
    answer = client.post("/search/image", data={"picture": "a"})
    told = {"field": "picture", "message": "a file is wanted, with a filename"}
    assert (answer.status_code, answer.json()["errors"]) == (422, [told])
    assert client.put("/search", json={}).status_code == 405
    for path in ("/nothing", "/search/"):
        answer = client.post(path, json={"text": "red"}, follow_redirects=False)
        told = {"field": "request", "message": f"{path}: no such address; /openapi.json lists them"}
        assert (answer.status_code, answer.json()["errors"]) == (404, [told])


def test_an_error_repeats_the_value_and_misspelt_fields_of_a_form_are_told(client: TestClient) -> None:
    answer = client.post("/search", json={"text": "a", "top_k": 0, "find": "f" * 500})
    told = {one["field"]: one["message"] for one in answer.json()["errors"]}
    assert told["top_k"].startswith("0: ")
    assert told["find"].startswith("'fff")
    assert len(told["find"]) < 200
    sent = {"picture": ("a.png", picture())}
    for name in ("topk", "w.captions", "text"):
        refused = client.post("/search/image", files=sent, data={name: "3"})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, name)
        assert "picture, find, top_k" in refused.json()["errors"][0]["message"]
    twice = client.post("/search/image", files=[*sent.items(), *sent.items()])
    assert twice.json() == {"errors": [{"field": "picture", "message": "given more than once"}]}


def test_head_is_get_without_the_body(client: TestClient) -> None:
    for path, status in (("/", 200), ("/health", 200), ("/images/p05", 200), ("/images/nobody", 404), ("/search", 405)):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"") == (status, b""), path
        assert head.headers == got.headers, path


def test_markup_stays_text(client: TestClient) -> None:
    answer = client.post("/search", json={"text": "<script>alert(1)</script>"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["answers"][0]["query"] == "<script>alert(1)</script>"


def test_info_health_metrics_and_schema(client: TestClient, desk: Desk) -> None:
    info = client.get("/info").json()
    assert (info["pictures"], info["texts"], info["index"]["kind"]) == (40, 80, "flat")
    assert set(info["data"]) >= {"pictures", "texts"}
    assert info["fingerprint"] == desk.now.fingerprint
    assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
    ask(client, text="counted")
    ask(client, text="counted")
    text = client.get("/metrics").text
    assert 'picdesk_requests_total{route="/search",status="200"}' in text
    assert 'picdesk_kept_hits{of="answers"}' in text
    routes = client.get("/openapi.json").json()["paths"]
    assert {"/search", "/search/image", "/search/combined", "/items/{name}", "/info", "/reload"} <= set(routes)
    assert client.get("/docs").status_code == 404, "its page asks a foreign address"
