"""Picture side of the demo set's script, on pictures drawn here."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from scripts.make_demo_data import SIDE, Drawing, Look, choose, crop, fit_to_square, is_near_empty, read_drawings, write

LICENCE = "http://web.resource.org/cc/PublicDomain"


SVG = """<svg xmlns="http://www.w3.org/2000/svg"><metadata xmlns:cc="http://web.resource.org/cc/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"><cc:Work>
<dc:title>Owl on Branch</dc:title><dc:subject><rdf:li>owl</rdf:li><rdf:li>bird</rdf:li></dc:subject>
<cc:license rdf:resource="{licence}"/></cc:Work></metadata></svg>"""


def page(colour="red", box=(100, 50, 500, 250), size=(800, 600)):
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).ellipse(box, fill=colour)
    return picture


def drawing(source, title, tags=("a",)):
    return Drawing(source, title, tags, "Jo", LICENCE)


def test_content_is_cropped_fitted_and_centred():
    picture = fit_to_square(crop(page()))
    content = np.argwhere(np.asarray(picture).min(axis=2) < 128)
    assert picture.size == (SIDE, SIDE)
    assert abs(content.mean(axis=0) - (SIDE - 1) / 2).max() < 1
    height, width = np.ptp(content, axis=0) + 1
    assert abs(width - (SIDE - 12)) <= 2
    assert abs(width / height - 2) < 0.05


def test_a_small_drawing_is_not_enlarged():
    content = crop(page(box=(10, 10, 59, 59)))
    assert np.ptp(np.argwhere(np.asarray(fit_to_square(content)).min(axis=2) < 128), axis=0).max() < 52


def test_an_empty_page_is_near_empty_and_a_disc_is_not():
    assert is_near_empty(fit_to_square(crop(Image.new("RGB", (300, 300), "white"))))
    assert not is_near_empty(fit_to_square(crop(page())))


def test_the_same_look_is_told_from_another_colour():
    look = Look()
    assert look.keep_if_new(fit_to_square(crop(page())))
    assert not look.keep_if_new(fit_to_square(crop(page(size=(900, 700)))))
    assert look.keep_if_new(fit_to_square(crop(page("blue"))))


def test_the_best_described_of_one_title_is_kept_and_the_rest_counted():
    red, blue = (fit_to_square(crop(page(colour))) for colour in ("red", "blue"))
    empty = Image.new("RGB", (SIDE, SIDE), "white")
    drawings = [
        drawing("b/disc.svg", "Disc", ("round",)),
        drawing("a/disc_01.svg", "disc", ("round", "red")),
        drawing("c/again.svg", "Another disc"),
        drawing("d/none.svg", "Nothing"),
        drawing("e/broken.svg", "Broken"),
    ]
    left_out = Counter()
    kept = choose(drawings, [blue, red, red, empty, None], left_out)
    assert [one.source for one, _ in kept] == ["a/disc_01.svg"]
    assert sum(left_out.values()) == 4
    assert len(left_out) == 4


def test_drawings_are_read_in_order_and_links_and_licences_counted(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "owl.svg").write_text(SVG.format(licence=LICENCE))
    (tmp_path / "a.svg").symlink_to("b/owl.svg")
    (tmp_path / "c.svg").write_text(SVG.format(licence=""))
    left_out = Counter()
    drawings = list(read_drawings(tmp_path, left_out))
    assert drawings == [Drawing("b/owl.svg", "Owl on Branch", ("owl", "bird"), "", LICENCE)]
    assert drawings[0].picture_id == "b-owl"
    assert sorted(left_out.values()) == [1, 1]


def test_the_same_drawings_give_the_same_bytes(tmp_path):
    pictures = [fit_to_square(crop(page(colour))) for colour in ("red", "blue")]
    drawings = [drawing("x/red.svg", "Red disc", ()), drawing("x/blue.svg", "Blue disc")]
    for name in ("one.parquet", "two.parquet"):
        write(tmp_path / name, choose(drawings, list(pictures), Counter()))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = pq.read_table(tmp_path / "one.parquet")
    assert table["title"].to_pylist() == ["Blue disc", "Red disc"]
    assert table["tags"].to_pylist() == [["a"], []]
