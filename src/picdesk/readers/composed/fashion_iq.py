"""FashionIQ's files: garments of three categories."""

from collections.abc import Mapping, Sequence
from typing import Any

from picdesk.errors import ConfigError, DataError, examples
from picdesk.parts import config_part
from picdesk.readers.composed.base import Composed, id_under
from picdesk.text.as_text import NoTextError, plain_text, what


@config_part
class FashionIq(Composed):
    """FashionIQ (Wu et al., CVPR 2021): `captions/cap.<category>.<split>.json`, `image_splits/split.<category>.<split>.json`.

    Its two captions of a pair are one text, joined by "and"; the picture that asks stays among those that may be found, as in
    the published protocol. Ids are `<category>-<split's number>`.
    """

    def __init__(
        self,
        root: str,
        category: str,
        name: str = "fashion_iq",
        folder: str = "images",
        splits: Sequence[str] = ("val",),
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        super().__init__(root, name, folder, splits, encoding)
        if category not in ("dress", "shirt", "toptee"):
            raise ConfigError(f"data.category={category}: choose one of dress, shirt, toptee")
        self.category, self.max_bad_fraction = category, max_bad_fraction
        self._split = ""

    def questions_file(self, split: str) -> str:
        """The file of questions."""
        self._split = split
        return f"captions/cap.{self.category}.{split}.json"

    def pictures_file(self, split: str) -> str:
        """The file with the list of pictures."""
        return f"image_splits/split.{self.category}.{split}.json"

    def pictures(self, value: Any) -> Mapping[str, str]:
        """Where the file of each picture is, by id."""
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise DataError(f"data={self.name}: FashionIQ's list of pictures is a list of names, not {what(value)}")
        twice = len(value) - len(set(value))
        if twice:
            raise DataError(f"data={self.name}: {twice} pictures are listed twice, for example {examples(value, 1)}")
        return {name: name for name in value}

    def question(self, record: Any, number: int) -> tuple[str, str, dict[str, str | tuple[str, ...]]]:
        """Id of the question, id of the picture that is wanted, and its fields. Raises `NoTextError`."""
        if "target" not in record:
            raise DataError(
                f"data={self.name}: its questions have no target; those of the test split are not published"
            )
        captions = record.get("captions")
        if not isinstance(captions, list) or not captions:
            raise NoTextError(f"captions holds {what(captions)}, and a list of texts is needed")
        caption = " and ".join(plain_text(one, "captions").strip(" .,?") for one in captions)
        fields: dict[str, str | tuple[str, ...]] = {"caption": caption, "reference": id_under(record, "candidate")}
        return f"{self.category}-{self._split}-{number}", id_under(record, "target"), fields
