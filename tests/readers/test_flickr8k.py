from pathlib import Path

import pytest

from picdesk.errors import DataError, MissingFileError
from picdesk.readers.flickr8k import Flickr8k
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons

NAMES = [f"{n}_ab.jpg" for n in range(4)]


def flickr(root: Path, form: str, missing: tuple[int, ...] = ()) -> Flickr8k:
    for n, name in enumerate(NAMES):
        if n not in missing:
            put(root / "Images" / name, jpeg(colour(n)))
    captions = [(name, k, f"caption {k}, of {name}") for name in NAMES for k in range(5)]
    if form == "header":
        put(root / "captions.txt", "image,caption\n" + "".join(f'{name},"{text}"\n' for name, _, text in captions))
    else:
        put(root / "Flickr8k.token.txt", "".join(f"{name}#{k}\t{text}\n" for name, k, text in captions))
    return Flickr8k(root=str(root))


@pytest.mark.parametrize("form", ["header", "token"])
def test_both_forms_give_the_same(tmp_path: Path, form: str) -> None:
    collection = flickr(tmp_path, form).read()
    check_pictures(collection, {name: colour(n) for n, name in enumerate(NAMES)})
    assert pairs(collection) == {f"{name}#{k}": name for name in NAMES for k in range(5)}
    assert collection.texts[6] == {"caption": "caption 1, of 1_ab.jpg"}
    assert collection.official == ()


@pytest.mark.parametrize("form", ["header", "token"])
def test_a_missing_picture_takes_only_its_own_captions(tmp_path: Path, form: str) -> None:
    collection = flickr(tmp_path, form, missing=(1,)).read()
    check_pictures(collection, {NAMES[n]: colour(n) for n in (0, 2, 3)})
    assert pairs(collection) == {f"{NAMES[n]}#{k}": NAMES[n] for n in (0, 2, 3) for k in range(5)}
    assert len(collection.skipped) == 5


def test_official_lists_that_are_there(tmp_path: Path) -> None:
    reader = flickr(tmp_path, "token")
    reader.max_bad_fraction = 0.5
    put(tmp_path / "Flickr_8k.trainImages.txt", f"{NAMES[3]}\n{NAMES[0]}\r\n")
    put(tmp_path / "Flickr_8k.devImages.txt", f"{NAMES[1]}\nunknown.jpg\n")
    collection = reader.read()
    assert collection.official == ("train", "val", "", "train")
    assert [(one.item, one.row) for one in collection.skipped] == [("Flickr_8k.devImages.txt: 'unknown.jpg'", False)]
    assert collection.notes[-1] == "Flickr_8k.devImages.txt: 1 of 2 names have no picture or no caption: 'unknown.jpg'"


def test_captions_that_the_other_file_has_alone_are_told(tmp_path: Path) -> None:
    flickr(tmp_path, "header")
    reader = flickr(tmp_path, "token")
    assert reader.read().notes == ()
    put(tmp_path / "captions.txt", f"image,caption\n{NAMES[0]},one\n" + f"{NAMES[1]},x\n" * 5)
    told = "14 captions of 3 pictures stand in it alone: '0_ab.jpg', '2_ab.jpg', '3_ab.jpg'"
    end = "(data.captions_file=null reads it instead)"
    assert reader.read().notes == (f"Flickr8k.token.txt lies beside captions.txt and is not read: {told} {end}",)
    assert len(Flickr8k(root=str(tmp_path), captions_file=None).read().texts) == 20


def test_a_picture_in_two_lists_is_an_error(tmp_path: Path) -> None:
    reader = flickr(tmp_path, "token")
    for part in ("train", "dev"):
        put(tmp_path / f"Flickr_8k.{part}Images.txt", f"{NAMES[0]}\n")
    with pytest.raises(DataError, match=f"picture '{NAMES[0]}' is in split 'val' and in 'train'"):
        reader.read()


def test_lines_of_another_form_are_named(tmp_path: Path) -> None:
    reader = flickr(tmp_path, "token")
    path = tmp_path / "Flickr8k.token.txt"
    path.write_text(
        "no tab here\n" + path.read_text() + f"{NAMES[0]}.1#0\tx\n{NAMES[0]}#{'9' * 5000}\tx\n{NAMES[0]}#0\tagain\n"
    )
    collection = reader.read()
    assert len(collection.texts) == 20
    told = reasons(collection)
    assert told[0] == "Flickr8k.token.txt line 1: not of the form name#n<TAB>caption"
    assert "not of the form" in told[1]
    assert "no file '0_ab.jpg.1'" in told[2]
    assert "text id '0_ab.jpg#0' stands already" in told[3]


def test_neither_caption_file(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    with pytest.raises(MissingFileError, match=r"neither 'captions\.txt' nor 'Flickr8k\.token\.txt' is in data\.root"):
        Flickr8k(root=str(tmp_path)).read()


def test_captions_that_are_lists_or_no_text(tmp_path: Path) -> None:
    put(tmp_path / "Images" / "a.JPG", jpeg(colour(1)))
    put(
        tmp_path / "captions.txt",
        'image,caption\na.jpg,"[""one"", ""two""]"\na.jpg,"{""raw"": ""x""}"\na.jpg,"three"\n',
    )
    collection = Flickr8k(root=str(tmp_path)).read()
    assert [fields["caption"] for fields in collection.texts] == ["one", "two", "three"]
    assert collection.text_ids == ("a.jpg#0", "a.jpg#1", "a.jpg#2")
    assert "captions.txt line 3: caption holds a record" in reasons(collection)[0]
    (tmp_path / "captions.txt").unlink()
    put(tmp_path / "Flickr8k.token.txt", "a.jpg#0\t['one']\r\na.jpg#1\tb\r\n")
    assert reasons(Flickr8k(root=str(tmp_path)).read()) == [
        "Flickr8k.token.txt line 1: the caption holds a list (['one']), which is no text"
    ]


def test_names_in_a_list_that_fit_nothing_stop_the_job(tmp_path: Path) -> None:
    reader = flickr(tmp_path, "token")
    put(tmp_path / "Flickr_8k.devImages.txt", f"{NAMES[1]}\nunknown.jpg\n")
    message = r"devImages\.txt: 1 of 2 names .*0\.5 is above data\.max_bad_fraction=0\.01: 'unknown\.jpg'"
    with pytest.raises(DataError, match=message):
        reader.read()
    reader.lists["val"] = None
    assert reader.read().official == ()


def test_a_name_in_a_list_is_not_that_of_another_picture(tmp_path: Path) -> None:
    for n, name in enumerate(("a.jpg", "b.jpg")):
        put(tmp_path / "Images" / name, jpeg(colour(n)))
    put(tmp_path / "captions.txt", "image,caption\na.jpg,one\nb.jpg,two\nb.png,no file\n")
    put(tmp_path / "Flickr_8k.trainImages.txt", "a.jpg\n")
    put(tmp_path / "Flickr_8k.testImages.txt", "A.jpg\nb.png\n")
    collection = Flickr8k(root=str(tmp_path), max_bad_fraction=1).read()
    assert dict(zip(collection.picture_ids, collection.official, strict=True)) == {"a.jpg": "train", "b.jpg": ""}


def test_names_in_a_list_are_tried_without_their_ending(tmp_path: Path) -> None:
    reader = flickr(tmp_path, "token")
    put(tmp_path / "Flickr_8k.devImages.txt", "".join(f"{name.removesuffix('.jpg')}\n" for name in NAMES))
    collection = reader.read()
    assert collection.official == ("val",) * 4
    assert any("4 names fit but for their ending or case" in note for note in collection.notes)


def test_tabs_are_found_and_a_lacking_column_names_no_key(tmp_path: Path) -> None:
    reader = flickr(tmp_path, "header")
    path = tmp_path / "captions.txt"
    put(path, path.read_text().replace(",", "\t"))
    assert len(reader.read().texts) == 20
    put(path, path.read_text().replace("image\tcaption", "picture,caption", 1))
    with pytest.raises(DataError, match=r"captions\.txt: no such column: image; the columns are") as error:
        reader.read()
    assert "data.image" not in str(error.value)
