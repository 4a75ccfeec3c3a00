"""Files that Git LFS did not pull, as in a clone of a data set's repository: said by name, whatever reads them."""

from pathlib import Path

import pytest

from picdesk.data.images import PictureError, open_picture
from picdesk.errors import DataError
from picdesk.files import is_pointer
from picdesk.readers.arrays import load_array, load_arrays
from picdesk.readers.arrow_rows import read_parquet
from picdesk.readers.hugging_face import read_arrow
from picdesk.readers.webdataset import WebDataset
from picdesk.text.files import read_text
from tests.data.samples import put

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132\n"


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.parquet", "t.arrow", "t.npz", "t.npy", "t.tar"])
def test_a_pointer_is_named(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, POINTER)
    readers = {
        ".parquet": lambda: read_parquet(path, {}),
        ".arrow": lambda: read_arrow(path, name),
        ".npz": lambda: load_arrays(path),
        ".npy": lambda: load_array(path),
        ".tar": lambda: WebDataset(str(tmp_path)).read(),
    }
    with pytest.raises(DataError, match=r"a Git LFS pointer stands in place of the file; run `git lfs pull`"):
        readers.get(path.suffix, lambda: read_text(path))()


def test_a_picture_that_is_a_pointer_and_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="a Git LFS pointer stands in place of the picture"):
        open_picture(POINTER)
    assert not is_pointer(put(tmp_path / "a.csv", "version,https\n"))
    assert not is_pointer(tmp_path / "gone")
