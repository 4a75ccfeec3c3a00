"""Text files in any encoding: read by what is certain, refused with the way where it is a guess."""

import gzip
from pathlib import Path

import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.text.files import plain_suffix, read_text
from tests.data.samples import put

TEXTS = {
    "gb18030": "两只小猫在窗台上睡觉，外面下着雨。",
    "big5": "兩隻小貓在窗台上睡覺，外面下著雨。",
    "shift_jis": "窓の外では雨が降っていて、二匹の子猫が眠っています。",
    "euc_kr": "창밖에는 비가 내리고 고양이 두 마리가 자고 있다",
    "cp1251": "За окном идёт дождь, два котёнка спят",
    "koi8_r": "Собака бежит по снегу",
    "iso8859_5": "Собака бежит по снегу",
    "cp866": "Двое мужчин сидят в лодке",
    "cp1253": "Ένας σκύλος τρέχει στο χιόνι",
    "cp1250": "Strčín pes běží; žluťoučký kůň",
    "cp1255": "כלב רץ בשלג ליד הבית",
    "cp1256": "كلب يجري في الثلج",
    "tis_620": "สุนัขวิ่งบนหิมะ",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_another_encoding_is_refused_with_the_place_and_the_way_and_read_when_named(
    tmp_path: Path, encoding: str
) -> None:
    path = put(tmp_path / "t.txt", ("plain\n" + TEXTS[encoding]).encode(encoding))
    with pytest.raises(DataError, match=rf"^t\.txt: not UTF-8 at byte \d+ \(line 2\); set data\.encoding={encoding}"):
        read_text(path)
    assert read_text(path, encoding)[0] == "plain\n" + TEXTS[encoding]


def test_what_the_likeliest_encoding_reads_is_shown(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "image,caption\na.jpg,Собака бежит\n".encode("koi8_r"))
    with pytest.raises(DataError, match=r"set data\.encoding=koi8_r.*; koi8_r reads 'Собака бежит' there$"):
        read_text(path)


def test_where_no_key_names_the_encoding_the_file_is_to_be_saved_anew(tmp_path: Path) -> None:
    path = put(tmp_path / "q.txt", TEXTS["gb18030"].encode("gb18030"))
    with pytest.raises(DataError, match="save it as UTF-8, for example by iconv -f gb18030 -t utf-8"):
        read_text(path, key=None)


def test_single_western_letters_are_read_and_the_lines_named(tmp_path: Path) -> None:
    text, note = read_text(put(tmp_path / "t.txt", "naïve\nplain\nÅse Öster\n".encode("latin-1")))
    assert text == "naïve\nplain\nÅse Öster\n"
    assert "not UTF-8 in 2 lines, which were read as Latin-1: 1, 3" in note
    assert "data.encoding" in note


def test_marks_of_files_put_one_behind_the_other_are_no_part_of_their_lines(tmp_path: Path) -> None:
    text, note = read_text(put(tmp_path / "t.txt", "\ufeffone\r\n\ufeff\ufefftwo\n\ufeffthr\ufeffee"))
    assert text == "one\r\ntwo\nthr\ufeffee"
    assert "2 more byte order marks, at the beginning of lines" in note
    assert read_text(put(tmp_path / "t.txt", "one\n\ufefftwo".encode("utf-16")))[0] == "one\ntwo"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_told(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path / "t.txt", "some words\n".encode(encoding))
    with pytest.raises(DataError, match=f"set data.encoding={encoding}"):
        read_text(path)
    assert read_text(path, encoding)[0] == "some words\n"


def test_a_named_encoding_must_be_one_and_fit(tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", b"caf\xe9")
    for name in ("klingon", "base64"):
        with pytest.raises(ConfigError, match=rf"data\.encoding={name}: no such encoding"):
            read_text(path, name)
    with pytest.raises(DataError, match=r"t\.txt: not utf-8 at byte 3"):
        read_text(path, "utf-8")


def test_gzip_is_unpacked_whatever_the_name_and_not_without_end(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    assert read_text(put(tmp_path / "t.csv", packed))[0] == "a,b\n1,2\n"
    assert plain_suffix(Path("x/T.CSV.GZ")) == ".csv"
    with pytest.raises(DataError, match="gzip cannot unpack it"):
        read_text(put(tmp_path / "cut.csv.gz", packed[:-9]))


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picdesk.text.files.UNPACKED_MOST", 1000)
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read_text(put(tmp_path / "t.gz", gzip.compress(b"a" * 1_000_000)))


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    for start, said in (
        (b"PK\x03\x04..", "an Excel workbook is one"),
        (b"PAR1", "data=parquet"),
        (b"BZh9", "bzip2"),
        (gzip.compress(gzip.compress(b"a,b\n")), "compressed by gzip twice"),
    ):
        with pytest.raises(DataError, match=said):
            read_text(put(tmp_path / "t.csv", start))
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="d: cannot be read"):
        read_text(tmp_path / "d")
