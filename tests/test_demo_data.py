"""The embedded demo set: size, counts, ids, titles, tags, pictures, licence; and that its headlines fit drawings in it."""

import io
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scripts.demo_text import is_public_domain, title_key

DATA = Path(__file__).parents[1] / "data"
FILE = DATA / "demo.parquet"
SIDE = 224


@pytest.fixture(scope="module")
def table():
    return pq.read_table(FILE)


@pytest.fixture(scope="module")
def rows(table):
    return table.to_pylist()


def test_the_file_is_small_enough_to_embed():
    assert 8_000_000 <= FILE.stat().st_size <= 12_000_000


def test_there_are_about_2600_drawings_with_the_columns_the_readme_names(table):
    assert 2500 <= len(table) <= 2800
    assert table.column_names == ["picture_id", "picture", "title", "tags", "author", "source", "licence"]
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"{len(table):,} drawings" in readme
    assert all(f"`{name}`" in readme for name in table.column_names)


def test_ids_are_distinct_plain_words_made_from_the_source(rows):
    ids = [row["picture_id"] for row in rows]
    assert len(set(ids)) == len(ids)
    assert [row["source"].removesuffix(".svg").replace("/", "-") for row in rows] == ids
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", one) for one in ids)
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)


def test_titles_are_distinct_but_for_case_and_numbers_and_are_clean(rows):
    titles = [row["title"] for row in rows]
    assert len({title_key(title) for title in titles}) == len(titles)
    assert all(title == title.strip() and len(title) >= 3 for title in titles)
    assert not [title for title in titles if re.search(r"[_@<>\n]|&\w+;|  |\.svg", title)]


def test_tags_are_clean_and_nearly_always_there(rows):
    for row in rows:
        tags = row["tags"]
        assert len(set(tags)) == len(tags)
        assert all(tag and tag == tag.strip().lower() and "_" not in tag and "@" not in tag for tag in tags)
    assert np.mean([bool(row["tags"]) for row in rows]) > 0.95
    assert np.median([len(row["tags"]) for row in rows]) >= 3


def test_nobodys_address_is_published(rows):
    assert not [row["author"] for row in rows if re.search(r"@|https?:|HASH", row["author"])]


def test_every_drawing_states_the_public_domain(table, rows):
    assert all(is_public_domain([row["licence"]]) for row in rows)
    assert b"public domain" in table.schema.metadata[b"licence"]
    assert b"openclipart-svg" in table.schema.metadata[b"origin"]


def test_every_picture_is_rgb_of_the_stated_size(table, rows):
    assert f"{SIDE} x {SIDE}".encode() in table.schema.metadata[b"picture_format"]
    for row in rows:
        with Image.open(io.BytesIO(row["picture"])) as picture:
            assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGB", (SIDE, SIDE))


def test_a_sample_of_pictures_decodes_to_something_on_white(rows):
    for row in rows[::20]:
        pixels = np.asarray(Image.open(io.BytesIO(row["picture"])))
        assert pixels.shape == (SIDE, SIDE, 3)
        assert pixels[0].min() >= 250, f"{row['picture_id']}: the margin is not white"
        assert pixels.std() > 2, f"{row['picture_id']}: nothing to be seen"


def test_pictures_are_distinct(rows):
    assert len({row["picture"] for row in rows}) == len(rows)
