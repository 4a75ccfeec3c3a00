import pytest

from picdesk.data.spellings import Known, plain_path


@pytest.mark.parametrize(
    ("ids", "names", "meant"),
    [
        (["a.jpg", "A.jpg"], ["a.jpg", "A.jpg", "A.JPG"], ["a.jpg", "A.jpg", None]),
        (["a.jpg", "b.jpg"], ["A.JPG", "b.png"], ["a.jpg", "b.jpg"]),
        (["a.jpg"], ["a.jpg", "A.jpg", "a.png", "a"], ["a.jpg", None, None, "a.jpg"]),
        (["a.jpg"], ["A.jpg", "A.JPG"], [None, None]),
        (["a.jpg"], ["A.JPG", "A"], ["a.jpg", "a.jpg"]),
        (["a.jpg", "a.png"], ["a"], [None]),
        (["a"], ["a.jpg", "a.png"], [None, None]),
        (["a"], ["a.jpg"], ["a"]),
        (["a"], ["a", "a.jpg"], ["a", "a"]),
        (["./a.jpg"], ["a.jpg", ".//A.JPG"], ["./a.jpg", None]),
        (["s/a.jpg"], ["./s//A.JPG"], ["s/a.jpg"]),
        (["v2.0", "1.left"], ["v2.1", "v2.0.jpg", "v2", "1.right"], [None, "v2.0", None, None]),
        (["straße.jpg", "caf\u00e9.jpg"], ["STRASSE.jpg", "cafe\u0301.jpg"], ["straße.jpg", "caf\u00e9.jpg"]),
    ],
)
def test_names_in_other_spellings(ids: list[str], names: list[str], meant: list[str | None]) -> None:
    known = Known(ids, names)
    assert [known.picture(name) for name in names] == meant


def test_a_name_of_a_picture_that_was_left_out_means_no_other() -> None:
    names = ["A.jpg", "b.png", "C", "d"]
    known = Known(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], names, left_out=["A.jpg", "b.png", "c.png", "d.jpg"])
    assert [known.picture(name) for name in names] == [None, None, None, "d.jpg"]
    assert known.near == ["d"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.jpg", "a.jpg"),
        ("./s//a", "s/a"),
        ("s/./a.", "s/a."),
        ("s/a/", "s/a"),
        ("//a", "/a"),
        ("../a", "../a"),
        (".", "."),
    ],
)
def test_plain_paths(name: str, plain: str) -> None:
    assert plain_path(name) == plain
