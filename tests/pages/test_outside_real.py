"""NewsImages on real photographs: from the CSV to a folder that can be handed in, for both editions."""

import csv
import shutil
from pathlib import Path

import pytest

from picdesk.commands.check_submission import main
from picdesk.data.near import alike
from picdesk.submissions.folders import faults
from tests.doors import run

Capture = pytest.CaptureFixture[str]
PICTURES = 60
ASKED = 20


@pytest.fixture
def real(tmp_path: Path, data_root: Path) -> Path:
    """Sixty real photographs in a folder; the 2025 table of their articles, the same as 2026 has it, and twenty article ids."""
    source = data_root / "newsimages"
    with (source / "newsarticles.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (source / "newsimages" / f"{row['image_id']}.jpg").is_file()]
    rows = rows[:PICTURES]
    (tmp_path / "pictures").mkdir()
    for row in rows:
        shutil.copy(source / "newsimages" / f"{row['image_id']}.jpg", tmp_path / "pictures")
    tables = {
        "newsarticles.csv": ("article_id", "article_url", "article_title", "article_tags", "image_id", "image_url"),
        "news_articles.csv": ("article_id", "article_url", "article_title", "image_id"),
    }
    for name, columns in tables.items():
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows([{**row, "image_id": f"{row['image_id']}.JPG"} for row in rows])
    (tmp_path / "ids.csv").write_text("\n".join(["article_id", *(row["article_id"] for row in rows[:ASKED])]))
    return tmp_path


@pytest.mark.real
def test_a_run_of_2025_and_two_of_2026_from_real_photographs(capfd: Capture, real: Path) -> None:
    shared = (f"data.root={real / 'pictures'}", f"subset={real / 'ids.csv'}", f"paths.store={real / 'store'}")
    own = ("backbone=lite", "submission.group=desk", "top_k=20")
    first = ("data=folder", "split=all", "prompt=headline_topics", f"queries={real / 'newsarticles.csv'}")
    ran = run(capfd, real / "out25", "retrieve", *first, *shared, *own, "submission.approach=lite")
    assert ran.status == 0, ran.err
    made = ran.folder / "submission" / "desk"
    assert main([str(made), "--articles", str(real / "ids.csv")]) == 0
    later = (
        "experiment=newsimages26/submit",
        f"queries={real / 'news_articles.csv'}",
        *shared,
        *own,
    )
    one = run(capfd, real / "one", "retrieve", *later, "submission.approach=first")
    assert one.status == 0, one.err
    runs = one.folder / "submission"
    again = ("submission.approach=second", f"submission.other_runs={runs}")
    two = run(capfd, real / "two", "retrieve", *later, *again)
    assert two.status == 0, two.err
    shutil.copytree(two.folder / "submission" / "desk_second", runs / "desk_second")
    assert main([str(runs), "--articles", str(real / "ids.csv"), "--edition", "2026"]) == 0
    shutil.copytree(runs / "desk_first", runs / "desk_third")
    for path in (runs / "desk_third").iterdir():
        path.rename(path.with_name(path.name.replace("first", "third")))
    ids = (real / "ids.csv").read_text().split()[1:]
    same = [fault for fault in faults(runs, ids, 2026, alike) if "shows the picture of desk_first" in fault]
    assert len(same) == ASKED, "and what is equal is seen"
