import base64
import csv
import io

import PIL.Image
import pytest

from picdesk.errors import DataError
from picdesk.report import content as c
from picdesk.report import formats, leaderboard
from picdesk.report.thumbnails import Contact, thumbnail_uri
from tests.report import sample


def open_uri(uri: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def encode_picture(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "arguments", [(float("nan"),), (0.5, 0.4), (0.5, None, 0.6), (0.5, 0.6, 0.4), (0.5, 0.1, float("inf"))]
)
def test_a_value_that_cannot_be_shown_is_refused(arguments):
    with pytest.raises(DataError, match="report:"):
        c.Value(*arguments)


def test_numbers_look_the_same_everywhere():
    column = c.METRICS[0]
    assert formats.cell(c.Value(0.41249, 0.391, 0.434), column) == "0.412 [0.391, 0.434]"
    assert formats.cell(c.Value(1), column) == "1.000"
    assert formats.cell(None, column) == "–"
    assert formats.number(-0.0001) == "0.000"
    assert formats.number(-1234.5, 1) == "-1,234.5"
    assert formats.rank(1234, 5000) == "rank 1,234 of 5,000"


def test_a_card_knows_its_outcome():
    assert (sample.hit().outcome, sample.miss().outcome) == ("hit", "miss")
    assert c.QueryCard("q", "t2i", (c.Ranking(()),)).outcome == "unknown"


def test_thumbnails_are_small_upright_and_on_white():
    wide = PIL.Image.new("RGB", (900, 300), "blue")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    width, height, uri = thumbnail_uri(encode_picture(wide, "JPEG", exif=exif))
    assert (width, height) == (59, 176)
    assert open_uri(uri).size == (59, 176)
    clear = PIL.Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert min(open_uri(thumbnail_uri(encode_picture(clear, "PNG"))[2]).getpixel((20, 20))) > 250
    palette = PIL.Image.new("P", (40, 40))
    palette.info["transparency"] = 0
    assert min(open_uri(thumbnail_uri(encode_picture(palette, "PNG", transparency=0))[2]).getpixel((20, 20))) > 250
    assert thumbnail_uri(encode_picture(PIL.Image.new("L", (2000, 1)), "PNG"))[:2] == (176, 1)


def test_equal_pictures_share_a_thumbnail_and_unreadable_ones_have_none():
    contact = Contact(lambda name: b"" if name == "broken" else sample.read_picture(name))
    assert contact.of("red") is contact.of("red again")
    assert contact.of("broken").uri == contact.of("unknown").uri == ""
    assert [thumbnail.key for thumbnail in contact.thumbnails()] == ["p1"]
    assert float(contact.ratio()) == pytest.approx(1.5, abs=0.01)


def test_the_leaderboard_file_reads_back(tmp_path):
    rows = (
        c.LeaderRow("a", {"index": "flat"}, {"hits@1": c.Value(0.1 + 0.2, 0.2, 0.4)}, "a/report.html", "best"),
        c.LeaderRow("b", {"seed": "7"}, {"hits@1": c.Value(0.25)}),
    )
    page = c.SweepPage("s", "s", rows, failures=(("c", 'no "index", sorry'),))
    leaderboard.write_csv(tmp_path / "leaderboard.csv", page)
    with (tmp_path / "leaderboard.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert float(lines[0]["hits@1"]) == 0.1 + 0.2
    assert (lines[0]["hits@1_high"], lines[0]["seed"], lines[1]["seed"], lines[1]["hits@1_low"]) == ("0.4", "", "7", "")
    assert lines[2]["verdict"] == 'failed: no "index", sorry'
