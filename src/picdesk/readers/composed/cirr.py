"""CIRR's files: pictures of everyday life in sets of six."""

from collections.abc import Mapping, Sequence
from typing import Any

from picdesk.errors import DataError
from picdesk.parts import config_part
from picdesk.readers.composed.base import Composed, id_under
from picdesk.text.as_text import NoTextError, plain_text, walk, what


@config_part
class Cirr(Composed):
    """CIRR (Liu et al., ICCV 2021): `captions/cap.rc2.<split>.json`, `image_splits/split.rc2.<split>.json`, and pictures.

    A text has the field caption and asks with the picture of its `reference`, which is `excluded` from what may be found;
    `among` are the other pictures of its set of six, by which the subset's recall is counted. Ids are the `pairid`.
    """

    def __init__(
        self,
        root: str,
        name: str = "cirr",
        folder: str = ".",
        splits: Sequence[str] = ("val",),
        version: str = "rc2",
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        super().__init__(root, name, folder, splits, encoding)
        self.version, self.max_bad_fraction = version, max_bad_fraction

    def questions_file(self, split: str) -> str:
        """The file of questions."""
        return f"captions/cap.{self.version}.{split}.json"

    def pictures_file(self, split: str) -> str:
        """The file with the list of pictures."""
        return f"image_splits/split.{self.version}.{split}.json"

    def pictures(self, value: Any) -> Mapping[str, str]:
        """Where the file of each picture is, by id."""
        if not isinstance(value, dict) or not all(isinstance(path, str) for path in value.values()):
            raise DataError(
                f"data={self.name}: CIRR's list of pictures is a table of names and files, not {what(value)}"
            )
        return {str(name): path.removeprefix("./") for name, path in value.items()}

    def question(self, record: Any, number: int) -> tuple[str, str, dict[str, str | tuple[str, ...]]]:
        """Id of the question, id of the picture that is wanted, and its fields. Raises `NoTextError`."""
        if "target_hard" not in record:
            raise DataError(
                f"data={self.name}: its questions have no target_hard; test1 is scored by CIRR's own server"
            )
        reference, members = id_under(record, "reference"), walk(record, "img_set.members")
        if not isinstance(members, list) or not all(isinstance(one, str) for one in members):
            raise NoTextError(f"img_set.members holds {what(members)}, and a list of names is needed")
        fields: dict[str, str | tuple[str, ...]] = {
            "caption": plain_text(record.get("caption"), "caption"),
            "reference": reference,
        }
        fields |= {"excluded": reference, "among": tuple(one for one in members if one != reference)}
        return id_under(record, "pairid"), id_under(record, "target_hard"), fields
