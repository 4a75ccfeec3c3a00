"""The page: whole without a script, everything in it escaped, its links and files true."""

import csv
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from picdesk.serving.commands import plain
from picdesk.serving.desk import Desk
from picdesk.serving.forms import step_of
from tests.doors import run
from tests.serving.conftest import client_of, desk_over, tiny
from tests.tiny import write_data

HTML = {"accept": "text/html"}


def page(client: TestClient, path: str = "/", **query: str) -> str:
    answer = client.get(path, params=query or None, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_first_page_offers_examples_that_can_be_followed(client: TestClient) -> None:
    first = page(client)
    assert first.count("<h1") == page(client, q="red").count("<h1") == 1, "what a screen reader begins with"
    links = re.findall(r'<ul class="examples">.*?</ul>', first, re.S)[0]
    hrefs = re.findall(r'href="([^"]+)"', links)
    assert len(hrefs) >= 3
    for href in hrefs:
        assert "true picture" in page(client, href.replace("&amp;", "&")), "examples are texts whose picture is known"


def test_a_question_shows_pictures_with_all_that_is_known(client: TestClient) -> None:
    found = page(client, q="blue warm picture 2", top_k="5")
    api = client.post("/search", json={"text": "blue warm picture 2", "top_k": 5}).json()["answers"][0]["results"]
    ids = re.findall(r'src="/thumbs/small/([^"]+)"', found)
    assert ids == [one["id"] for one in api]
    for one in api:
        assert one["title"] in found
        assert f"{one['score']:.3f}" in found
    assert all(client.get(f"/thumbs/large/{name}").status_code == 200 for name in ids)
    assert 'value="blue warm picture 2"' in found
    assert "more like this" in found
    assert found.count("popovertarget=") >= 10, "each opens large, without a script"


def test_csv_and_json_hold_what_is_shown(client: TestClient) -> None:
    query = {"q": "blue warm picture 2", "top_k": "4", "min_score": "-1"}
    answer = client.get("/results.json", params=query).json()["answers"][0]["results"]
    rows = list(csv.DictReader(io.StringIO(client.get("/results.csv", params=query).text)))
    assert [(row["item_id"], float(row["score"])) for row in rows] == [
        (one["id"], round(one["score"], 6)) for one in answer
    ]
    assert [row["query"] for row in rows] == ["blue warm picture 2"] * 4
    assert "/results.csv?q=blue+warm+picture+2&amp;top_k=4" in page(client, **query)


def test_a_picture_by_upload_shows_both_and_its_links_work(client: TestClient) -> None:
    own = client.get("/images/p05").content
    answer = client.post("/?top_k=3", files={"picture": ("mine <b>.png", own)}, headers=HTML)
    assert answer.status_code == 200
    assert answer.text.count('class="prints"') == answer.text.count('class="texts"') == 1
    assert "mine &lt;b&gt;.png" in answer.text
    again = re.search(r'href="(/\?picture=[0-9a-f]{64}[^"]*)"', answer.text) or pytest.fail("no permalink")
    link = again[1].replace("&amp;", "&")
    assert re.findall(r"/thumbs/small/(\w+)", page(client, link)) == re.findall(r"/thumbs/small/(\w+)", answer.text)
    assert client.get(link.replace("/?", "/results.csv?")).text.count("\n") == 1 + 3 + 3
    gone = client.get("/", params={"picture": "0" * 64}, headers=HTML)
    assert (gone.status_code, "choose it again" in gone.text) == (404, True)


def test_an_index_of_texts_finds_texts_for_a_picture(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index, store = f"index_dir={tmp_path / 'index'}", f"paths.store={tmp_path / 'store'}"
    made = run(
        capfd, tmp_path / "out", "retrieve", "task=index_build", "gallery=texts", *tiny(tmp_path, 6), index, store
    )
    assert made.status == 0, made.err
    with desk_over(tmp_path, index, "serve.rate=0") as desk, client_of(desk) as client:
        sent = {"picture": ("mine.png", client.get("/images/p05").content)}
        for answer in (client.post("/", files=sent, headers=HTML), client.get("/?like=p05", headers=HTML)):
            assert (answer.status_code, answer.text.count('class="texts"')) == (200, 1), answer.text
        refused = client.post("/search", json={"text": "red"})
        assert (refused.status_code, "it finds find=texts" in refused.text) == (422, True), refused.text


def test_more_like_this_and_without_a_word(client: TestClient) -> None:
    like = page(client, like="p05", find="pictures")
    assert re.findall(r"/thumbs/small/(\w+)", like)[:2] == ["p05", "p05"], "the asked one, and itself first"
    assert "this one" in like
    without = page(client, q="red picture 1", minus="blue")
    assert "red picture 1 - 0.5 x blue" in without
    assert "also=" in without


def test_the_command_gives_the_same(client: TestClient, desk: Desk) -> None:
    told = re.findall(r"<code[^>]*>(python retrieve.py.*?)</code>", page(client, q="it's blue, (warm) ${x}"), re.S)[0]
    words = shlex.split(told.replace("&#39;", "'").replace("&amp;", "&").replace("&#34;", '"'))
    assert words[:2] == ["python", "retrieve.py"]
    assert "query=it's blue, (warm) ${x}" in words
    assert {"top_k=100", "run_depth=6", "data=parquet"} <= set(words)
    assert not [word for word in words if word.startswith(("serve.", "task=", "logger="))]


def test_a_slider_reaches_the_weight_that_it_stands_for() -> None:
    """A browser moves one that its steps do not reach, and asks by what it moved it to."""
    for weight in (0.0, 0.05, 0.2, 0.35, 0.33, 0.125, 1 / 3, 1.0):
        step = float(step_of(plain(weight)))
        assert weight / step == pytest.approx(round(weight / step), abs=1e-6)
        assert (step == 0.05) is (weight not in (0.33, 0.125, 1 / 3))


def test_a_filter_stands_in_the_form_in_the_links_and_in_the_command(client: TestClient) -> None:
    found = page(client, q="red", filter="id in ('p03', 'p05')", top_k="40")
    assert set(re.findall(r"/thumbs/small/(\w+)", found)) == {"p03", "p05"}
    assert "id in (&#39;p03&#39;, &#39;p05&#39;)" in found
    assert "filter=id in" in re.findall(r"<code[^>]*>(.*?)</code>", found, re.S)[0].replace("&#39;", "'")
    assert "filter=id+in" in found
    example = re.search(r'name="filter"[^>]*placeholder="([^"]+)"', found) or pytest.fail("no example")
    told = example[1].replace("&#39;", "'")
    assert page(client, q="red", filter=told).count("/thumbs/small/") >= 1, "the example finds something"


def test_a_mistake_is_told_on_the_page_and_what_was_typed_stays(client: TestClient) -> None:
    for query, status, told in (
        ({"q": "red", "top_k": "many"}, 422, "top_k"),
        ({"q": "red", "top_k": "100000"}, 422, "top_k"),
        ({"q": "red", "top_k": "nan"}, 422, "top_k: &#39;nan&#39; is no finite number"),
        ({"q": "red", "top_k": "-1e400"}, 422, "top_k: &#39;-1e400&#39; is no finite number"),
        ({"q": "red", "top_k": "1e300"}, 422, "top_k"),
        ({"q": "red", "min_score": "inf"}, 422, "min_score"),
        ({"q": "red", "find": "films"}, 422, "find"),
        ({"q": "red", "topk": "3"}, 422, "topk: no such parameter; there are q, minus"),
        ({"q": "red", "fold": "banana"}, 422, "fold: &#39;banana&#39;: give 1"),
        ({"q": ["red", "blue"]}, 422, "q: given more than once"),
        ({"minus": "a"}, 422, "minus: give a text or a picture too"),
        ({"q": "a" * 10_000}, 422, "q"),
        ({"like": "../../etc/passwd"}, 404, "id"),
        ({"q": "red", "w.nobody": "0.5"}, 422, "weights.nobody"),
    ):
        answer = client.get("/", params=query, headers=HTML)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        note = re.search(r'role="alert">(.*?)</p>', answer.text, re.S) or pytest.fail("nothing is told")
        assert told in note[1]
        assert all(f'value="{query["q"]}"' in answer.text for name in query if name == "q" and told[:2] != "q:")
    assert client.post("/", headers=HTML).status_code == 422
    sent = client.post("/", files={"picture": ("a.png", b"hello")}, headers=HTML)
    assert (sent.status_code, "not a picture" in sent.text) == (422, True)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[TestClient]:
    """A desk over captions, ids and columns that somebody else wrote."""

    def change(captions: list[str], contents: list[bytes]) -> None:
        captions[0] = captions[1] = "<script>alert(1)</script><img src=x onerror=alert(1)>\"' {{ 7*7 }}"

    write_data(tmp_path / "data", 6, change)
    own = ("backbone._target_=tests.tiny.Tiny", "prompt=caption", "split=all", "serve.rate=0")
    data = ("data=parquet", f"data.root={tmp_path / 'data'}", "data.caption_column=caption")
    with desk_over(tmp_path, *data, *own) as desk, client_of(desk) as made:
        yield made


def test_what_others_wrote_is_escaped_everywhere(hostile: TestClient) -> None:
    for query in ({"q": '"><script>alert(2)</script>'}, {"q": "{{ 7*7 }}", "find": "texts"}, {"like": "p00"}):
        found = page(hostile, **query)
        assert found.count("<script") == 2, "the page's own two"
        assert "<img src=x" not in found
        assert "onerror=alert(1)>" not in found
        assert ">49<" not in found
    assert "<script>alert(1)" not in page(hostile), "an example would be it"


def test_the_page_asks_for_nothing_outside_itself(client: TestClient) -> None:
    answer = client.get("/", params={"q": "red", "fold": "1"}, headers=HTML)
    assert "maxlength" not in answer.text, "which cuts what is pasted, unsaid; the server says what is too long"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "style=" not in answer.text, "the policy allows no style in a tag"
    assert not re.search(r"\son\w+=", answer.text), "and no script there"
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
    assert len(addresses) > 20
    for address in addresses:
        assert urlsplit(address.replace("&amp;", "&"))[:2] == ("", ""), address
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
        assert "immutable" in client.get(address).headers["cache-control"]
    assert client.get("/static/../page.py").status_code == 404
