"""NewsImages (MediaEval): a CSV of articles and a folder of pictures named by `image_id`."""

from collections.abc import Mapping
from pathlib import Path

from picdesk.collection import Collection
from picdesk.data.places import AbsentError, Inside, RefusedError, data_file, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.errors import short_repr
from picdesk.parts import config_part
from picdesk.readers.gathering import Gathering
from picdesk.readers.text_columns import Taken, TextColumns, text_fault
from picdesk.text.table import delimiter_named, need_columns, read_table


@config_part
class NewsImages:
    """One text an article (fields title, tags; its id is the article's), one picture file for its `image_id`.

    `tags_column` null is for a table without tags (2026). An `image_id` may have its ending or not, and the file's name may be in
    letters of another case. Rows whose picture is not there are listed in `skipped` and left out; the rows around them keep
    their own pictures.
    """

    def __init__(
        self,
        root: str,
        name: str = "newsimages",
        file: str = "newsarticles.csv",
        folder: str = "newsimages",
        suffixes: tuple[str, ...] | list[str] = (".jpg", ".jpeg", ".png", ".webp"),
        id_column: str = "article_id",
        title_column: str = "article_title",
        tags_column: str | None = "article_tags",
        picture_column: str = "image_id",
        tag_separators: str = ";|",
        max_bad_fraction: float = 0.1,
        delimiter: str = "auto",
        quoting: str = "auto",
        encoding: str | None = None,
        more_columns: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.name = name
        self.file = file
        self.folder = folder
        self.suffixes = tuple(suffixes)
        self.tags_column = tags_column
        self.columns = {
            "id_column": id_column,
            "title_column": title_column,
            **({} if tags_column is None else {"tags_column": tags_column}),
            "picture_column": picture_column,
        }
        self.more_columns = dict(more_columns or {})
        self.tag_separators = tag_separators
        self.max_bad_fraction = max_bad_fraction
        self.delimiter = delimiter_named(delimiter)
        self.quoting = quoting
        self.encoding = encoding

    def read(self) -> Collection:
        """The articles that have a picture, in the order of the file."""
        path = data_file(self.root, self.file, self.name)
        named = self.columns | {f"more_columns.{name}": column for name, column in self.more_columns.items()}
        table = read_table(path, self.delimiter, self.quoting, self.encoding, named.values())
        need_columns(dict(named), table.header, self.file, hint=table.hint)
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        gathering = Gathering[Path](self.name)
        gathering.note_table(table, self.file)
        title = self.columns["title_column"]
        columns = TextColumns(None, title, self.tags_column, self.more_columns, self.tag_separators)
        inside.claim(row[self.columns["picture_column"]].strip() for _, row in table.rows)
        for line, row in table.rows:
            self._article(gathering, inside, row, columns.take(row), line)
        gathering.notes += inside.notes()
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _article(
        self, gathering: Gathering[Path], inside: Inside, row: dict[str, str], taken: Taken, line: int
    ) -> None:
        article, picture = (row[self.columns[key]].strip() for key in ("id_column", "picture_column"))
        where = f"{self.file} line {line}, article {article[:100]}"
        fault = "no article id" if not article else text_fault([{"id": article}, *taken.texts])
        if fault:
            gathering.skip(where, fault, picture)
            return
        try:
            path = inside.picture(picture, self.suffixes)
            picture = inside.first_name(picture, path)
        except AbsentError:
            gathering.skip(where, f"no picture {short_repr(picture)} ({', '.join(self.suffixes)})", picture)
            return
        except RefusedError as refused:
            gathering.skip(where, str(refused), picture)
            return
        if (
            gathering.took(taken, where, picture)
            and gathering.is_new_text(article, where)
            and gathering.picture(picture, path, where)
        ):
            gathering.text(picture, taken.texts[0], where, article)
