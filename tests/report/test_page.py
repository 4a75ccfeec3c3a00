import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from picdesk.report import charts, page
from picdesk.report import content as c
from tests.report import sample

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&amp;{{ 7 * 7 }}"
VOID = {"meta", "img", "input", "br", "hr", "link", "use", "rect", "image", "path"}


class Tags(HTMLParser):
    """Every tag with its attributes, and a check that tags close in the order in which they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open[-1:] == [tag], f"</{tag}> closes <{self.open[-1:]}> at {self.getpos()}"
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in names]


def sweep() -> c.SweepPage:
    rows = tuple(
        c.LeaderRow(
            f"job {i}",
            {"index": "flat"},
            {"hits@1": c.Value(0.4 - i / 10, 0.3 - i / 10, 0.5 - i / 10)},
            f"{i}/p.html",
            EVIL,
        )
        for i in range(3)
    )
    trade = charts.Tradeoff("Trade", "ms", "hits@1", (charts.Point("a", 1, 0.4, 0.3, 0.5), charts.Point(EVIL, 2, 0.5)))
    heat = charts.HeatMap("Heat", "x", "y", ("1", "2"), ("3",), ((0.1, None),))
    return c.SweepPage("sweep", "three jobs", rows, charts=(trade, heat), best_config="a: 1", failures=((EVIL, EVIL),))


def pages() -> dict[str, str]:
    evil = sample.job(
        title=EVIL,
        subtitle=EVIL,
        facts=(c.Fact(EVIL, EVIL),),
        groups=(c.CardGroup(EVIL, (sample.hit(EVIL), sample.miss())),),
    )
    return {
        "job": page.render_job(sample.job(), sample.read_picture),
        "evil": page.render_job(evil, sample.read_picture),
        "retrieval": page.render_retrieval(
            c.RetrievalPage("found", EVIL, (sample.hit(), sample.miss(EVIL), sample.i2t())), sample.read_picture
        ),
        "sweep": page.render_sweep(sweep()),
    }


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return pages()


def test_whatever_is_shown_is_escaped(rendered):
    for name, text in rendered.items():
        tags = Tags(text)
        assert tags.open == [], name
        assert len(tags.of("script")) == 1, name
        assert not tags.of("img"), name
        assert not [a for _, attributes in tags.found for a in attributes if a.startswith("on")], name
    assert EVIL in "".join(Tags(rendered["evil"]).words)
    assert "49" not in re.sub(r"<style>.*?</style>|data:[^\"]*|<svg.*?</svg>", "", rendered["evil"], flags=re.S)


def test_nothing_outside_the_file_is_asked_for(rendered):
    for name, text in rendered.items():
        tags = Tags(text)
        assert not tags.of("link", "iframe", "object", "embed", "base"), name
        for tag, attributes in tags.found:
            for key in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
                value = attributes.get(key)
                if value is not None:
                    assert value.startswith(("#", "./", "data:image/jpeg;base64,")), (name, tag, value)
        assert not re.search(r"url\((?!#)|@import|https?://", text), name
        assert any("default-src 'none'" in (a.get("content") or "") for a in tags.of("meta")), name


def test_references_inside_the_page_lead_somewhere_and_ids_are_unique(rendered):
    for name, text in rendered.items():
        found = Tags(text).found
        ids = [a["id"] for _, a in found if "id" in a]
        assert len(ids) == len(set(ids)), name
        wanted = {a["href"][1:] for _, a in found if (a.get("href") or "").startswith("#")}
        wanted |= set(re.findall(r"url\(#([^)]+)\)", text))
        assert wanted <= set(ids), (name, wanted - set(ids))


def test_the_same_content_gives_the_same_bytes(rendered):
    assert pages() == rendered


def test_each_distinct_picture_is_embedded_once():
    again = c.QueryCard("q3", "t2i", (c.Ranking((sample.item("red again", 1), sample.item("red", 2))),), "twice")
    text = page.render_job(sample.job(groups=(c.CardGroup("g", (sample.hit(), again)),)), sample.read_picture)
    assert text.count("data:image/jpeg") == 3  # red, blue, green; "red again" has the same bytes as red
    assert text.count("<use href") > 3


def test_a_picture_that_cannot_be_read_is_said_to_be_so():
    text = page.render_job(sample.job(), lambda name: b"not a picture")
    assert text.count("cannot be read") > 3
    assert "data:image" not in text


def test_numbers_intervals_and_pictures_have_words(rendered):
    text = rendered["job"]
    assert "0.412" in text
    assert "[0.391, 0.434]" in text
    assert "rank 37" in text
    assert "median rank" not in text  # no row has it
    for attributes in Tags(text).of("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label"), attributes
    for attributes in Tags(text).of("th"):
        assert attributes.get("scope") in ("row", "col")
    assert "./odd%20name%3F.json" in text


def test_the_page_is_written_whole(tmp_path):
    page.write_job(tmp_path / "report.html", sample.job(), sample.read_picture)
    page.write_sweep(tmp_path / "sweep.html", sweep())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "sweep.html"]
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_job_with_nothing_to_show_is_a_page_without_sections():
    text = page.render_job(c.JobPage("empty", "nothing was run", "evaluate"), sample.read_picture)
    assert Tags(text).open == []
    assert "<section" not in text
    assert "<nav" not in text


def test_recall_has_no_column_where_it_is_hits():
    same = {"hits@1": c.Value(0.4), "recall@1": c.Value(0.4), "hits@5": c.Value(0.6), "recall@5": c.Value(0.5)}
    table = c.MetricTable("t2i", (c.MetricRow("a", same),), 10, 10)
    text = page.render_job(c.JobPage("x", "evaluate", "", tables=(table,)), sample.read_picture)
    assert ">recall@1<" not in text
    assert ">recall@5<" in text
    assert c.REPEATED in text


def test_very_many_queries_are_cut_and_said_so():
    cards = tuple(
        c.QueryCard(f"q{i}", "t2i", (c.Ranking((sample.item("red", 1),)),), "red") for i in range(page.MOST_CARDS + 5)
    )
    text = page.render_retrieval(c.RetrievalPage("many", "queries", cards), sample.read_picture)
    assert text.count("<article") == page.MOST_CARDS
    assert "5 more queries are not shown" in text
    assert f"{len(cards)} queries" in text


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_a_text_of_millions_of_letters_is_cut_wherever_it_stands(direction):
    long = "word " * 600_000
    item = c.Item("i", long, "red" if direction == "t2i" else "", 0.5, 2, details={"credit": long})
    asked = {"text": long} if direction == "t2i" else {"picture": "red"}
    card = c.QueryCard("q", direction, (c.Ranking((item,), 2),), truth=(item,), note=long, **asked)
    retrieval = page.render_retrieval(c.RetrievalPage("x", "y", (card,)), sample.read_picture)
    groups = (c.CardGroup("Worst misses", (card,)),)
    job = page.render_job(c.JobPage("x", "y", "evaluate", groups=groups), sample.read_picture)
    for html in (retrieval, job):
        assert len(html) < 300_000
        assert "word…" in html


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_what_is_behind_them(scheme):
    """WCAG 2.2, 1.4.3: a ratio of at least 4.5 for text; 1.4.11: at least 3 for what is drawn."""
    light, dark = (
        (page.TEMPLATES / "style.css").read_text("utf-8").split("@media screen and (prefers-color-scheme: dark)")
    )
    find = re.compile(r"--([\w-]+): (#[0-9a-f]{6})")
    colors = dict(find.findall(light)) | (dict(find.findall(dark)) if scheme == "dark" else {})
    others = [(f"other-{i}", "paper", 3) for i in range(1, 5)]
    text = [
        ("ink", "paper"),
        ("soft", "paper"),
        ("soft", "raised"),
        ("main", "paper"),
        ("miss", "paper"),
        ("hit", "paper"),
    ]
    text += [("hit", "hit-wash"), ("miss", "miss-wash")]
    for front, back, least in [*((f, b, 4.5) for f, b in text), ("baseline", "paper", 3), *others]:
        low, high = sorted((luminance(colors[front]), luminance(colors[back])))
        assert (high + 0.05) / (low + 0.05) >= least, (front, back)


def test_page_terminal_and_manifest_come_without_torch_or_hydra():
    code = (
        "import sys; from picdesk.report import page, terminal, manifest, leaderboard; "
        "print([m for m in ('torch', 'hydra', 'omegaconf', 'wandb', 'pytorch_lightning') if m in sys.modules])"
    )
    source = str(Path(page.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.strip() == "[]"
