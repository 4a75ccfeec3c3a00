"""`data.limit=N`: N pictures spread over the parts, for a quick try; another job than the whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from picdesk.assembly.reading import limit_pictures
from picdesk.collection import Collection
from picdesk.errors import ConfigError
from tests.commands.test_mistakes import one_line
from tests.doors import run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]


class Nothing:
    def __len__(self) -> int:
        return 100

    def read(self, i: int) -> bytes:
        return b""


def hundred() -> tuple[Collection, dict[str, np.ndarray]]:
    ids = tuple(f"p{i}" for i in range(100))
    texts = tuple({"caption": name} for name in ids)
    collection = Collection("made", ids, Nothing(), tuple(f"{name}#0" for name in ids), texts, np.arange(100))
    order = np.random.default_rng(3).permutation(100)
    return collection, {"train": order[:80], "val": order[80:90], "test": order[90:]}


def test_each_part_gives_its_share_with_its_texts() -> None:
    whole, splits = hundred()
    few, parts, note = limit_pictures(whole, splits, 20)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 16, "val": 2, "test": 2}
    for name, rows in parts.items():
        assert {few.picture_ids[i] for i in rows} <= {whole.picture_ids[i] for i in splits[name]}
    assert [few.picture_ids[i] for i in few.picture_of] == [str(fields["caption"]) for fields in few.texts]
    assert limit_pictures(whole, splits, 20)[0].picture_ids == few.picture_ids
    assert note == "data.limit=20: 20 of 100 pictures, drawn from every part"
    assert len(limit_pictures(whole, splits, 3)[0].picture_ids) == 3
    assert len(limit_pictures(whole, splits, 1000)[0].picture_ids) == 100


def test_where_no_part_holds_anything_the_whole_gives_it() -> None:
    whole, splits = hundred()
    few, parts, _ = limit_pictures(whole, {name: rows[:0] for name, rows in splits.items()}, 7)
    assert len(few.picture_ids) == 7
    assert not any(map(len, parts.values()))


@pytest.mark.parametrize("limit", [0, 2, -1, 1.5, "many", True])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match=r"data\.limit=.*whole number of pictures is needed, 3 at least"):
        limit_pictures(*hundred(), limit)


def test_it_is_part_of_what_the_job_is(capfd: Capture, tmp_path: Path) -> None:
    data = (f"data.root={write_data(tmp_path / 'data', 80)}", "data=parquet", "data.caption_column=caption")
    tiny = (*data, "backbone._target_=tests.tiny.Tiny", "bootstrap.resamples=50", "part=all")
    whole, few = (run(capfd, tmp_path, "evaluate", *tiny, *more) for more in ((), ("data.limit=30",)))
    assert whole.status == few.status == 0, whole.err + few.err
    left = [json.loads(ran.file("manifest.json")) for ran in (whole, few)]
    assert left[0]["fingerprint"] != left[1]["fingerprint"]
    assert left[1]["settings"]["data.limit"] == "30"
    assert json.loads(few.file("metrics.json"))["t2i"]["metrics"]["gallery"] == 30
    again = run(capfd, tmp_path, "evaluate", f"reproduce={few.folder}", "plugins=[tests]")
    assert again.status == 0, again.err
    one_line(run(capfd, tmp_path, "evaluate", *tiny, "data.limit=none"), "data.limit=none", "whole number")


def test_rows_that_the_reader_left_out_are_a_share_of_all_that_it_read(capfd: Capture, tmp_path: Path) -> None:
    """Four of 84 rows name a picture that is not there: no more than that, however few are taken."""
    rows = [["picture", "caption"], *([f"p{i}.png", f"caption {i}"] for i in range(84))]
    for i in range(80):
        Image.new("RGB", (8, 8), (i, 3 * i, 0)).save(tmp_path / f"p{i}.png")
    (tmp_path / "rows.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    data = ("data=csv", f"data.root={tmp_path}", "data.file=rows.csv", "data.picture_column=picture", "data.folder=.")
    tiny = (
        "backbone._target_=tests.tiny.Tiny",
        "bootstrap.resamples=50",
        "part=all",
        "data.max_bad_fraction=0.06",
        "split.groups=none",
    )
    ran = run(capfd, tmp_path / "out", "evaluate", *data, *tiny, "data.caption_column=caption", "data.limit=20")
    assert ran.status == 0, ran.err
