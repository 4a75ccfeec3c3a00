"""Files of ratings: no row is dropped."""

from pathlib import Path

import pytest

from picdesk.errors import DataError
from picdesk.tasks.agreement import Agreement, read
from tests.data.samples import put


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,x,1\nb,y,2,z\n", r"r\.csv line 3: 4 cells for 3 columns; 1 rows are so, a cell with a comma needs quotes"),
        ('a dog,x y.jpg,"1\nb,x z.jpg,2\nc,x v.jpg,3"\n', r"r\.csv, line 2: the quote in .* is not closed in its line"),
    ],
)
def test_a_row_that_would_be_lost_is_refused(tmp_path: Path, rows: str, told: str) -> None:
    path = put(tmp_path / "r.csv", f"text,picture,rating\n{rows}")
    with pytest.raises(DataError, match=told):
        read(Agreement(name="agreement", door="evaluate", file=str(path)), path)
