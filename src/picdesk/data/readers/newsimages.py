"""NewsImages (MediaEval): a CSV of articles and a folder of pictures named by `image_id`."""

from pathlib import Path

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.readers.columns import split_tags
from picdesk.data.readers.gathering import Gathering
from picdesk.data.readers.text import need_columns, read_table
from picdesk.data.sources import PictureFiles
from picdesk.parts import config_part


@config_part
class NewsImages:
    """One text an article (fields title, tags; its id is the article's), one picture file for its `image_id`.

    Rows whose picture is not there are listed in `skipped` and left out; the rows around them keep their own pictures.
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
        tags_column: str = "article_tags",
        picture_column: str = "image_id",
        tag_separators: str = ";|",
        max_bad_fraction: float = 0.1,
    ) -> None:
        self.root = root
        self.name = name
        self.file = file
        self.folder = folder
        self.suffixes = tuple(suffixes)
        self.columns = {
            "id_column": id_column,
            "title_column": title_column,
            "tags_column": tags_column,
            "picture_column": picture_column,
        }
        self.tag_separators = tag_separators
        self.max_bad_fraction = max_bad_fraction

    def read(self) -> Collection:
        """The articles that have a picture, in the order of the file."""
        table = read_table(data_file(self.root, self.file, self.name))
        need_columns(dict(self.columns), table.header, self.file)
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        gathering = Gathering[Path](self.name)
        gathering.notes += [table.note] if table.note else []
        for line, width in table.ragged:
            gathering.skip(f"{self.file} line {line}", f"{width} cells for {len(table.header)} columns")
        for line, row in table.rows:
            self._article(gathering, inside, row, line)
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _article(self, gathering: Gathering[Path], inside: Inside, row: dict[str, str], line: int) -> None:
        article, title, tags, picture = (row[column].strip() for column in self.columns.values())
        where = f"{self.file} line {line}, article {article}"
        if not article or "\0" in article + title + tags:
            gathering.skip(where, "no article id" if not article else "a NUL character in the text")
            return
        try:
            path = self._picture(inside, picture)
        except RefusedError as refused:
            gathering.skip(where, str(refused))
            return
        if gathering.fresh(article, where) and gathering.picture(picture, path, where):
            fields = {"title": title, "tags": split_tags(tags, self.tag_separators)}
            gathering.text(picture, fields, where, article)

    def _picture(self, inside: Inside, picture: str) -> Path:
        reason = RefusedError("no picture is named")
        for suffix in self.suffixes if picture else ():
            try:
                return inside.path(picture + suffix)
            except RefusedError as refused:
                reason = refused
        raise RefusedError(str(reason) if len(self.suffixes) == 1 else _several(reason, picture, self.suffixes))


def _several(reason: RefusedError, picture: str, suffixes: tuple[str, ...]) -> str:
    text = str(reason)
    return f"no picture {picture!r} ({', '.join(suffixes)})" if text.startswith("no file") else text
