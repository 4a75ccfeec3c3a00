"""The experiments of NewsImages 2026 over a small table with that year's header."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from picdesk.commands.check_submission import main
from tests.commands.test_mistakes import one_line
from tests.doors import run

Capture = pytest.CaptureFixture[str]
HEADER = "article_id,article_url,article_title,image_id"
TINY = "backbone._target_=tests.tiny.Tiny"
MANY = 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`newsimages26/`: the table, its pictures, and a file of what is known of them."""
    folder = tmp_path / "newsimages26"
    (folder / "newsimages").mkdir(parents=True)
    rows, known = [HEADER], {}
    for i in range(MANY):
        rows.append(f"n{i},https://news.example/{i},Town number{i} after the rain,P{i}.JPG")
        known[f"P{i}.JPG"] = [f"a street in number{i}"]
        stream = io.BytesIO()
        Image.new("RGB", (24, 16), (4 * i, 255 - 4 * i, (37 * i) % 256)).save(stream, "jpeg")
        (folder / "newsimages" / f"P{i}.JPG").write_bytes(stream.getvalue())
    (folder / "news_articles.csv").write_text("\n".join([*rows, ""]))
    (tmp_path / "known.json").write_text(json.dumps(known))
    return tmp_path


def test_words_of_a_file_rerank_that_years_table(capfd: Capture, root: Path) -> None:
    asked = ("experiment=newsimages26/siglip2_so400m_lexical", f"paths.data_root={root}", "backbone=lite", TINY)
    ran = run(capfd, root / "out", "evaluate", *asked, f"reranker.file={root / 'known.json'}", "reranker.weight=0.9")
    assert ran.status == 0, ran.err
    found = json.loads(ran.file("metrics.json"))
    assert found["t2i"]["metrics"]["hits@1"] == 1.0, "each picture's file says the one word that its headline alone has"
    one_line(
        run(capfd, root / "none", "evaluate", *asked),
        "reranker.fields=[], reranker.file=null",
        "give reranker.file=FILE",
    )
    told = run(capfd, root / "doctor", "evaluate", "task=doctor", *asked)
    assert "missing: captions by id (reranker.file): give reranker.file=FILE" in told.out


def test_a_run_to_hand_in_is_of_that_year(capfd: Capture, root: Path) -> None:
    table = root / "newsimages26" / "news_articles.csv"
    data = ("experiment=newsimages26/submit", f"data.root={root / 'newsimages26' / 'newsimages'}", f"queries={table}")
    own = ("backbone=lite", TINY, "submission.group=desk", "submission.approach=first", "top_k=5")
    ran = run(capfd, root / "out", "retrieve", *data, *own)
    assert ran.status == 0, ran.err
    runs = ran.folder / "submission"
    assert (runs / "desk_first" / "n0_desk_first.png").is_file()
    assert main([str(runs), "--articles", str(table), "--edition", "2026"]) == 0
