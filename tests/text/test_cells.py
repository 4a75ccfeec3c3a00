"""No cell of a CSV file for people begins a formula; numbers stay numbers."""

import csv
import io
import re
from pathlib import Path

import pytest

from picdesk.text.cells import CsvWriter, PeopleWriter, harmless
from tests.conftest import PROJECT


@pytest.mark.parametrize("text", ["=1+1", "+cmd|'/c x'!A1", "-2+3", "@SUM(A1)", "\t1", "\r1", "\n1", "-", "＝1", "- 5"])
def test_a_formula_becomes_a_text(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("apart", [";", "\t", "\r", "\n", "\r\n"])
def test_a_formula_behind_what_begins_a_cell_elsewhere_becomes_a_text(apart: str) -> None:
    """A spreadsheet that cuts at semicolons takes `a;=1` for two cells, and a line break in a later cell for a row's end."""
    assert harmless(f"a storm{apart}=1+1{apart}b;c") == f"a storm{apart}'=1+1{apart}b;c"
    assert harmless(f"={apart}@") == f"'={apart}'@"
    stream = io.StringIO(newline="")
    PeopleWriter(stream).writerow(["id", f'a storm{apart}"=1+1{apart}"""=1+1{apart}b'])
    elsewhere = csv.reader(stream.getvalue().splitlines(), delimiter="\t" if apart == "\t" else ";")
    assert not [cell for row in elsewhere for cell in row if cell.startswith("=")]


@pytest.mark.parametrize(
    "cell", ["-3", "-0.5", "+1e-3", "-inf", -3, -0.5, 0, True, None, "", "a=b", "3-2", "'=1", " =1"]
)
def test_numbers_and_plain_texts_stay(cell: object) -> None:
    assert harmless(cell) is cell


def test_rows_are_written_so(tmp_path: Path) -> None:
    stream = io.StringIO()
    writer = PeopleWriter(stream, lineterminator="\n")
    writer.writerow(["id", "=head"])
    writer.writerows([["@a", -1.5], ['=HYPERLINK("x")', "-1.5"]])
    read = list(csv.reader(io.StringIO(stream.getvalue())))
    assert read == [["id", "'=head"], ["'@a", "-1.5"], ['\'=HYPERLINK("x")', "-1.5"]]


@pytest.mark.parametrize("writer", [CsvWriter, PeopleWriter])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("inner", ["\r", "\n", "\r\n"])
def test_a_line_break_in_a_cell_ends_no_row(writer: type[CsvWriter], end: str, inner: str) -> None:
    stream = io.StringIO(newline="")
    writer(stream, lineterminator=end).writerows([["id", f"two{inner}lines"], [1, None]])
    assert list(csv.reader(io.StringIO(stream.getvalue(), newline=""))) == [["id", f"two{inner}lines"], ["1", ""]]
    assert stream.getvalue().endswith(f"1,{end}")


def test_every_writer_of_csv_files_is_the_harmless_one() -> None:
    plain = {
        path.relative_to(PROJECT / "src/picdesk").as_posix()
        for path in (PROJECT / "src").rglob("*.py")
        if re.search(r"csv\.(writer|DictWriter)\(|\.to_csv\(", path.read_text())
    }
    assert plain == {"text/cells.py"}
