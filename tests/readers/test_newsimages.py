from pathlib import Path

import pytest

from picdesk.errors import DataError, MissingFileError
from picdesk.readers.newsimages import NewsImages
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons

HEAD = "article_id,article_url,article_title,article_tags,image_id,image_url\r\n"


def news(root: Path, rows: list[str], pictures: dict[str, int]) -> NewsImages:
    put(root / "newsarticles.csv", "\ufeff" + HEAD + "".join(row + "\r\n" for row in rows))
    (root / "newsimages").mkdir(exist_ok=True)
    for name, number in pictures.items():
        put(root / "newsimages" / f"{name}.jpg", jpeg(colour(number)))
    return NewsImages(root=str(root))


def test_rows_without_a_picture_are_left_out_and_shift_nothing(tmp_path: Path) -> None:
    rows = [f"{n},u,Title {n},one;two|three ; ,P{n},v" for n in range(8)]
    reader = news(tmp_path, rows, {f"P{n}": n for n in (0, 2, 3, 6, 7)})
    collection = reader.read()
    check_pictures(collection, {f"P{n}": colour(n) for n in (0, 2, 3, 6, 7)})
    assert pairs(collection) == {str(n): f"P{n}" for n in (0, 2, 3, 6, 7)}
    assert [fields["title"] for fields in collection.texts] == [f"Title {n}" for n in (0, 2, 3, 6, 7)]
    assert collection.texts[0]["tags"] == ("one", "two", "three")
    assert len(collection.skipped) == 3
    assert reasons(collection)[0].startswith("newsarticles.csv line 3, article 1: no picture 'P1'")
    assert "byte order mark" in collection.notes[0]


def test_two_articles_may_share_a_picture(tmp_path: Path) -> None:
    collection = news(tmp_path, ["1,u,A,,P0,v", "2,u,B,,P0,v"], {"P0": 5}).read()
    assert pairs(collection) == {"1": "P0", "2": "P0"}
    assert len(collection.picture_ids) == 1


def test_a_repeated_article_id_is_named_and_the_first_kept(tmp_path: Path) -> None:
    collection = news(tmp_path, ["1,u,A,,P0,v", "1,u,B,,P1,v"], {"P0": 0, "P1": 1}).read()
    assert pairs(collection) == {"1": "P0"}
    assert collection.picture_ids == ("P0",)
    assert "text id '1' stands already" in reasons(collection)[0]


def test_no_picture_at_all_is_an_error_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data=newsimages: the data set is empty.*1 rows left out, the first: no picture 'P0'"
    ):
        news(tmp_path, ["1,u,A,,P0,v"], {}).read()


def test_missing_column_and_missing_folder(tmp_path: Path) -> None:
    reader = news(tmp_path, ["1,u,A,,P0,v"], {"P0": 0})
    reader.columns["title_column"] = "headline"
    with pytest.raises(DataError, match=r"no such column: data\.title_column=headline; the columns are 'article_id', "):
        reader.read()
    with pytest.raises(MissingFileError, match=r"data\.root=.*not a folder"):
        NewsImages(root=str(tmp_path / "absent")).read()


def test_ids_with_an_ending_and_files_in_capitals_are_found(tmp_path: Path) -> None:
    reader = news(tmp_path, ["1,u,A,,P0.jpg,v", "2,u,B,,P1,v", "3,u,C,,p2.JPG,v", "4,u,D,,P3,v"], {})
    for n, name in enumerate(("P0.jpg", "P1.JPEG", "P2.jpg", "P3.Png", "P3.jpg")):
        put(tmp_path / "newsimages" / name, jpeg(colour(n)))
    collection = reader.read()
    check_pictures(collection, {"P0.jpg": colour(0), "P1": colour(1), "p2.JPG": colour(2), "P3": colour(4)})
    assert any(
        "1 pictures stand under a name in letters of another case: 'p2.JPG -> P2.jpg'" in n for n in collection.notes
    )
    assert any(
        "1 names fit several pictures, the first was taken: 'P3 -> P3.jpg, P3.Png'" in n for n in collection.notes
    )


def test_titles_and_tags_are_text_or_are_told(tmp_path: Path) -> None:
    rows = [
        '1,u,"{""en"": ""A""}",,P0,v',
        "2,u,B,\"['x', 'y;z']\",P0,v",
        '3,u,"Say ""no""",nan,P0,v',
        '4,u,"No" to it,k,P0,v',
    ]
    collection = news(tmp_path, rows, {"P0": 1}).read()
    assert [dict(fields) for fields in collection.texts] == [
        {"title": "B", "tags": ("x", "y;z")},
        {"title": 'Say "no"', "tags": ()},
        {"title": '"No" to it', "tags": ("k",)},
    ]
    assert "data.title_column=article_title holds a record with the keys en" in reasons(collection)[0]


def test_the_table_of_2026_has_no_tags_and_ids_with_endings(tmp_path: Path) -> None:
    rows = ["1,u,Storm hits Cape Town,P0.JPG", "2,u,Elections,P1", "3,u,Nothing there,P9.JPG"]
    put(tmp_path / "news_articles.csv", "article_id,article_url,article_title,image_id\n" + "\n".join(rows) + "\n")
    (tmp_path / "newsimages").mkdir()
    put(tmp_path / "newsimages" / "P0.JPG", jpeg(colour(0)))
    put(tmp_path / "newsimages" / "P1.jpg", jpeg(colour(1)))
    collection = NewsImages(root=str(tmp_path), file="news_articles.csv", tags_column=None).read()
    assert [set(fields) for fields in collection.texts] == [{"title"}] * 2
    assert len(collection.skipped) == 1
    check_pictures(collection, {name: colour(i) for i, name in enumerate(collection.picture_ids)})
    with pytest.raises(DataError, match=r"data\.tags_column=article_tags"):
        NewsImages(root=str(tmp_path), file="news_articles.csv").read()
