"""The columns of a saved index: what comes back is what went in, and whatever was damaged is refused."""

import io
from pathlib import Path
from threading import Thread

import pytest

from picdesk.errors import DataError, MissingFileError
from picdesk.filters.columns import Columns
from picdesk.filters.kept import KeptColumns, place_of, read_columns, write_columns
from tests.filters.test_language import known_columns
from tests.mutations import mutations


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    digest = write_columns(tmp_path, known_columns())
    again = read_columns(tmp_path, digest)
    assert again.ids == known_columns().ids
    assert list(again.columns) == list(known_columns().columns)
    for name in again.columns:
        assert [set(again.column(name).values(i)) for i in range(5)] == [
            set(known_columns().column(name).values(i)) for i in range(5)
        ]
    assert write_columns(tmp_path, known_columns()) == digest


def test_items_of_which_nothing_is_known_have_no_columns(tmp_path: Path) -> None:
    digest = write_columns(tmp_path, Columns(("a", "b"), {}))
    assert read_columns(tmp_path, digest).fulfilling("id = 'a'").tolist() == [True, False]


def test_two_threads_may_read_at_once(tmp_path: Path) -> None:
    """What is asked for by the second one while the first one has gone back to the beginning of the file."""
    kept, other = KeptColumns(tmp_path, write_columns(tmp_path, known_columns())), []

    class Slow(io.BytesIO):
        def seek(self, *place: int) -> int:
            found = super().seek(*place)
            if not other:
                other.append(Thread(target=kept))
                other[0].start()
                other[0].join(0.1)
            return found

    kept._file = Slow(kept._path.read_bytes())
    assert kept().ids == known_columns().ids
    other[0].join()


def test_columns_that_are_gone_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="is missing; build the index again"):
        read_columns(tmp_path, "0" * 64)


def test_whatever_was_damaged_is_refused(tmp_path: Path) -> None:
    digest = write_columns(tmp_path, known_columns())
    path = place_of(tmp_path, digest)
    content, count = path.read_bytes(), 0
    for name, damaged in mutations(content):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="checksum"):
            read_columns(tmp_path, digest)
        count += 1
        assert name
    assert count > 100
