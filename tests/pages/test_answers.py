"""What a retrieval leaves for people: large pictures with what is known of them, tables with the same, five queries printed."""

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from picdesk.data.sources import NoPictures
from picdesk.pages.answers import unreadable
from picdesk.report.content import Item, QueryCard, Ranking
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]
TINY = "backbone._target_=tests.tiny.Tiny"


def test_what_to_name_for_vectors_without_pictures() -> None:
    card = QueryCard("q1", "t2i", (Ranking(found=(Item("p1", picture="p1"),)),))
    told = unreadable([card], NoPictures(3).read)
    assert "set data.folder to the folder of the pictures" in told
    assert "data.root" not in told
    assert "Name where they are: data.root=FOLDER" in unreadable([card], {}.__getitem__)


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, ...]:
    """Twelve photographs with a caption, a credit and a source each; one cell would be a formula in a spreadsheet."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["image,caption,credit,score"]
    for i in range(12):
        Image.new("RGB", (1200, 80), (20 * i, 255 - 20 * i, 60)).save(folder / f"photo{i:02}.jpg")
        lines.append(f"photo{i:02}.jpg,colour number {i},{'=cmd()' if i == 3 else f'Agency {i}'},{i} points")
    (folder / "captions.csv").write_text("\n".join([*lines, ""]))
    more = ("data.more_columns={credit: credit}", "data.more_columns.score=score")
    return ("data=csv", f"data.root={folder}", "data.file=captions.csv", *more, TINY, "part=all", "logger=none")


def rows(ran: Ran) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(ran.file("results.csv").decode())))


def test_results_say_query_path_text_and_further_columns(capfd: Capture, tmp_path: Path, data: tuple[str, ...]) -> None:
    ran = run(capfd, tmp_path / "out", "retrieve", *data, "query=a colour, bright", "top_k=12")
    assert ran.status == 0, ran.err
    lines = {row["item_id"]: row for row in rows(ran)}
    assert len(lines) == 12
    line = lines["photo03.jpg"]
    assert line["query"] == "a colour, bright"
    assert Path(line["path"]).name == "photo03.jpg"
    assert Path(line["path"]).is_file()
    assert (line["text"], line["credit"], line["data.score"]) == ("colour number 3", "'=cmd()", "3 points")
    [answer] = json.loads(ran.file("results.json"))
    found = {item["id"]: item for item in answer["results"]}
    assert found["photo03.jpg"]["columns"] == {"credit": "=cmd()", "score": "3 points"}
    assert found["photo03.jpg"]["path"] == line["path"]


def test_the_page_shows_pictures_to_choose_from(capfd: Capture, tmp_path: Path, data: tuple[str, ...]) -> None:
    ran = run(capfd, tmp_path / "out", "retrieve", *data, "query=a colour", "top_k=12", "run_depth=12")
    page = ran.file("index.html").decode()
    assert 'width="1024"' in page  # few pictures: large ones
    assert page.count("popovertarget=") == 2 * 12  # each opens, and closes again
    assert "credit: Agency 5" in page
    assert "<dt>file</dt><dd>photo05.jpg</dd>" in page


def test_pictures_that_cannot_be_read_are_said_once(capfd: Capture, tmp_path: Path, data: tuple[str, ...]) -> None:
    index = tmp_path / "index"
    made = run(capfd, tmp_path / "out", "retrieve", *data, "query=a", f"save_index={index}")
    assert "cannot be shown" not in made.out + made.err
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    ran = run(capfd, tmp_path / "out", "retrieve", f"index_dir={index}", "query=a colour")
    assert ran.status == 0, ran.err
    assert ran.file("index.html").decode().count("Pictures cannot be shown") == 1
    assert "data.root=FOLDER" in ran.out


def test_a_batch_prints_five_queries_and_says_where_the_rest_is(
    capfd: Capture, tmp_path: Path, data: tuple[str, ...]
) -> None:
    (tmp_path / "queries.txt").write_text("".join(f"headline number {i}\n" for i in range(40)))
    ran = run(capfd, tmp_path / "out", "retrieve", *data, f"queries={tmp_path / 'queries.txt'}")
    assert ran.status == 0, ran.err
    assert "headline number 4" in ran.out
    assert "headline number 5" not in ran.out
    assert "not printed: 35 of the queries; all answers are in" in ran.out
    assert len({row["query_id"] for row in rows(ran)}) == 40
