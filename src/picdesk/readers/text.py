"""Text and tables as the readers take them; the reading itself lies on the ground floor, as other wings read files too."""

from picdesk.table import Table, delimiter_named, need_columns, read_table
from picdesk.text_files import lines_of, plain_suffix, read_text

__all__ = ["Table", "delimiter_named", "lines_of", "need_columns", "plain_suffix", "read_table", "read_text"]
