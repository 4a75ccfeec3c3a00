"""No number of the README or the docs is written by hand: what stands between marks is what the results of the bench give."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts import publish

from picdesk.evaluation.spread import over_draws, over_seeds_and_pictures
from picdesk.evaluation.statistics import wilson
from tests.conftest import PROJECT

BY_HAND = re.compile(r"\b0\.\d{3} (?:\[|± )")
EXPLAINED = {"metrics.md": 1}  # `0.412 [0.391, 0.434]`, which shows how an interval is written
MEASURED = re.compile(
    r"(?<![\w.=])\d*\.\d+(?![\w.])|(?<![\w.=])\d[\d,]*\s?(?:ms|s|min|MB|GB|%)(?!\w)|(?<=\|) [\d,]+ (?=\|)"
)
# Blocks that are being measured; () when all are there.
STILL_OUT: tuple[str, ...] = ()

# Tables outside the marks that may hold numbers: page, what the first line begins with, and what the page says of their source.
CLIP_TABLE, ARITHMETIC = "docs/openclip_retrieval_results.csv", "arithmetic as far as memory goes"
ALLOWED = (
    ("backbones.md", "| `backbone=` | model, weights |", "counted on the model as the library builds it"),
    ("backbones.md", "| `backbone=` | Flickr30k i2t |", CLIP_TABLE),
    ("backbones.md", "| `backbone=` | COCO t2i |", "perception_models, README"),
    ("finetuning.md", "| recipe | model, data |", "run_scripts/flickr30k_finetune_vit-b-16_rbt-base.sh"),
    ("finetuning.md", "| row of the table: model, weights |", CLIP_TABLE),
    ("finetuning.md", "| experiment | backbone |", "experiment=finetune_flickr8k_best"),  # settings
    ("finetuning.md", "| what is seen | what is said |", "`callbacks.collapse` is on by default"),  # thresholds
    ("queries.md", "| key | means |", "-0.5:image:night.jpg"),  # an example of what is typed
    ("scale.md", "| option | vector |", ARITHMETIC),
    ("scale.md", "| pictures | `flat` |", ARITHMETIC),
    ("serving.md", "| route | |", "POST /search/combined"),  # an example of what is sent
)


def tables_outside(text: str) -> Iterator[list[str]]:
    """The Markdown tables of a page that stand outside the marks, line by line."""
    lines: list[str] = []
    for line in [*publish.MARKED.sub("", text).split("\n"), ""]:
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            yield lines
            lines = []


def measured_tables(page: str, text: str) -> list[str]:
    """First lines of tables with cells that look measured and that no line of `ALLOWED` names."""
    return [
        table[0]
        for table in tables_outside(text)
        if any(MEASURED.search(line) for line in table[2:])
        and not any(name == page and table[0].startswith(head) for name, head, _ in ALLOWED)
    ]


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_a_page_says_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- numbers: ") == text.count("<!-- /numbers -->") == len(publish.MARKED.findall(text))
    assert publish.fill_marks(text) == text, "run `make tables`"
    for found in publish.MARKED.finditer(text):
        begins_a_line = not text[: found.start()].rpartition("\n")[2].strip()
        assert begins_a_line == found[3].startswith("\n\n"), (
            f"{found[2]}: a line that begins with a mark is no Markdown"
        )


def test_every_block_stands_somewhere_and_a_changed_number_is_seen() -> None:
    used = {
        name for page in publish.PAGES for _, name, _, _ in publish.MARKED.findall(page.read_text(encoding="utf-8"))
    }
    assert used == set(publish.BLOCKS)
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    at = publish.MARKED.search(text)
    assert at is not None
    digit = re.search(r"0\.\d{3}", at[3])
    assert digit is not None
    place = at.start(3) + digit.start()
    forged = text[:place] + "0.999" + text[place + 5 :]
    assert publish.fill_marks(forged) == text


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_no_measured_value_with_its_error_stands_outside_the_marks(page: Path) -> None:
    rest = publish.MARKED.sub("", page.read_text(encoding="utf-8"))
    assert len(BY_HAND.findall(rest)) == EXPLAINED.get(page.name, 0), BY_HAND.findall(rest)


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_no_table_outside_the_marks_holds_measured_values(page: Path) -> None:
    assert measured_tables(page.name, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("cell", ["0.123", ".329 / .434", "12 ms", "48", "160 s", "5.0 GB, 26 s a step", "18.5%"])
def test_a_measured_cell_is_seen(cell: str) -> None:
    table = f"| what | value |\n|---|---|\n| lite | {cell} |\n"
    assert measured_tables("README.md", f"text\n\n{table}\ntext") == ["| what | value |"]
    assert measured_tables("README.md", f"<!-- numbers: demo -->\n\n{table}\n<!-- /numbers -->") == []


def test_every_allowed_table_is_there_with_its_source() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in publish.PAGES}
    for page, head, source in ALLOWED:
        assert [table for table in tables_outside(texts[page]) if table[0].startswith(head)], (page, head)
        assert source in texts[page]


@pytest.mark.parametrize("name", list(publish.BLOCKS))
def test_every_block_is_measured(name: str) -> None:
    assert (publish.UNKNOWN in publish.block(name)) == (name in STILL_OUT), "measured: take it out of STILL_OUT"


@pytest.mark.parametrize("page", publish.PAGES, ids=lambda page: page.name)
def test_no_page_says_that_a_number_is_missing(page: Path) -> None:
    blocks = publish.MARKED.sub(
        lambda found: "" if found[2] in STILL_OUT else found[0], page.read_text(encoding="utf-8")
    )
    assert "(not measured yet" not in blocks


def test_the_error_of_seeds_and_pictures_holds_the_truth_as_often_as_it_says() -> None:
    """Queries of a picture share what makes it hard, and a seed what makes it good; the truth is known."""
    generator = np.random.default_rng(0)
    pictures = np.repeat(np.arange(150), 3)
    held = 0
    for _ in range(400):
        score = 0.3 + generator.normal(0, 0.03, (4, 1)) + np.repeat(generator.normal(0, 0.2, 150), 3)
        spread = over_seeds_and_pictures(score + generator.normal(0, 0.1, (4, 450)), pictures)
        held += spread.low <= 0.3 <= spread.high
    assert 0.93 <= held / 400 <= 0.985
    one = over_seeds_and_pictures(np.array([[1.0, 0, 1, 0]]), np.arange(4))
    assert (one.mean, one.seeds) == (0.5, None)
    assert one.high - 0.5 == pytest.approx(3.182446 * np.sqrt(0.25 / 3), rel=1e-5)  # Student's, 3 degrees of freedom


@pytest.mark.parametrize("pictures", [1, 40])
def test_seeds_and_pictures_that_all_agree_leave_open_what_wilson_says(pictures: int) -> None:
    """Two of the five captions of each picture are right with each seed; two fifths have no last digit."""
    for level in (0.95, 0.8):
        found = over_seeds_and_pictures(
            np.tile([1.0, 1, 0, 0, 0], (3, pictures)), np.repeat(np.arange(pictures), 5), level
        )
        wanted = wilson(0.4 * pictures, pictures, level)
        assert (found.low, found.high, found.seeds) == pytest.approx((wanted.low, wanted.high, 0.0))


def test_the_width_over_jobs_is_that_of_the_level() -> None:
    """Student's quantiles of three degrees of freedom, 95% and 80%, out of a table; lengths are those of the same level."""
    values, wide = np.array([[1.0, 0, 1, 0]]), {0.95: 3.182446, 0.8: 1.637744}
    normal = {0.95: 1.959964, 0.8: 1.281552}
    for level, student in wide.items():
        found = over_seeds_and_pictures(values, np.arange(4), level)
        assert found.high - 0.5 == pytest.approx(student * np.sqrt(0.25 / 3), rel=1e-5)
        spread = over_draws(np.full((4, 1), 0.5), np.full((4, 1), 2 * 0.01 * normal[level]), 0.125, level)
        assert spread.high - 0.5 == pytest.approx(student * 0.01 * np.sqrt(1 / 4 + 0.125), rel=1e-5)


def test_draws_that_share_what_they_learn_from_are_not_taken_for_independent() -> None:
    values = np.array([[0.10, 0.12], [0.14, 0.16], [0.08, 0.10], [0.12, 0.10]])
    means = values.mean(axis=1)
    spread = over_draws(values, np.full((4, 2), 0.01), 0.125)
    wanted = 3.182446 * np.sqrt(means.var(ddof=1) * (1 / 4 + 0.125))
    assert spread.mean == pytest.approx(0.115)
    assert spread.high - spread.mean == pytest.approx(wanted, rel=1e-6)
    assert spread.draws == pytest.approx(means.std(ddof=1))
    assert spread.seeds == pytest.approx(np.sqrt(values.var(axis=1, ddof=1).mean()))


def test_draws_that_agree_by_luck_have_the_error_of_their_pictures() -> None:
    """Five draws of one value, as of 20 in 396, or of none at all: what each job's own pictures leave open stays open."""
    for value, length in ((20 / 396, 0.043), (0.0, 0.0096), (1.0, 0.0096)):
        spread = over_draws(np.full((5, 1), value), np.full((5, 1), length), 0.125)
        wanted = 2.776445 * length / (2 * 1.959964) * np.sqrt(1 / 5 + 0.125)
        assert spread.high - spread.mean == pytest.approx(wanted, rel=1e-6)
        assert spread.mean - spread.low == pytest.approx(wanted, rel=1e-6)


def test_words_on_flickr8k_have_a_row_once_they_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own: dict[str, dict[str, Any]] = {
        "tuned": {"weights": {"lexical": 0.5}},
        "before": {},
        "after": {},
        "less_search_alone": {},
    }
    for direction in ("t2i", "i2t"):
        own["before"][direction], own["after"][direction] = 0.25, 0.75
        own["less_search_alone"][direction] = [0.5, 0.4, 0.6, 0.0001, 0.0001]
    monkeypatch.setattr(publish.bench_numbers, "RESULTS", tmp_path)
    found = {"bm25": {"0": own}, "entities": {}}
    for more, last in (
        ({}, "| NewsImages | bm25 | 0 | 0.50"),
        ({"flickr8k": own}, "| Flickr8k dev, captions | bm25 |"),
    ):
        (tmp_path / "lexical.json").write_text(json.dumps(found | more))
        assert publish.bench_numbers.lexical().strip().splitlines()[-1].startswith(last)
        assert "0.250, 0.750 | 0.500 [0.400, 0.600]" in publish.bench_numbers.lexical()
