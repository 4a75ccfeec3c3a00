"""Composed retrieval: a picture and a text that says what is to be different ask for another picture (CIRR, FashionIQ)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from picdesk.collection import Collection
from picdesk.data.places import AbsentError, Inside, RefusedError, data_file, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.errors import ConfigError, DataError
from picdesk.files import Doubled
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering, split_name
from picdesk.text.as_text import NoTextError, name_of, walk, what


class Composed:
    """What both formats share: a list of pictures and a list of questions for each split."""

    def __init__(self, root: str, name: str, folder: str, splits: Sequence[str], encoding: str | None) -> None:
        if isinstance(splits, str) or not splits:
            raise ConfigError(f"data.splits={splits!r}: a list such as [val] is needed")
        self.root, self.name, self.folder, self.encoding = root, name, folder, encoding
        self.splits = [str(split) for split in splits]

    def questions_file(self, split: str) -> str:
        """The file of questions."""
        raise NotImplementedError

    def pictures_file(self, split: str) -> str:
        """The file with the list of pictures."""
        raise NotImplementedError

    def pictures(self, value: Any) -> Mapping[str, str]:
        """Where the file of each picture is, by id."""
        raise NotImplementedError

    def question(self, record: Any, number: int) -> tuple[str, str, dict[str, str | tuple[str, ...]]]:
        """Id of the question, id of the picture that is wanted, and its fields. Raises `NoTextError`."""
        raise NotImplementedError

    def read(self) -> Collection:
        """The pictures that are there, and the questions whose pictures both are."""
        gathering = Gathering[Path](self.name)
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        for split in self.splits:
            file = self.pictures_file(split)
            listed = self.pictures(self._value(file, gathering))
            inside.claim(listed.values())
            for place, (name, where) in enumerate(listed.items()):
                self._picture(gathering, inside, (name, where, f"{file} picture {place}"), split)
            file = self.questions_file(split)
            records = self._value(file, gathering)
            if not isinstance(records, list):
                raise DataError(f"{file}: a list of questions is needed, and it holds {what(records)}")
            for number, record in enumerate(records):
                self._question(gathering, record, number, f"{file} question {number}")
        gathering.notes += inside.notes()
        return gathering.collection(lambda places: PictureFiles(tuple(places)))

    def _value(self, file: str, gathering: Gathering[Path]) -> Any:
        return gathering.json(data_file(self.root, file, self.name), file, self.encoding)

    def _picture(self, gathering: Gathering[Path], inside: Inside, one: tuple[str, str, str], split: str) -> None:
        name, file, where = one
        try:
            path = inside.picture(file, SUFFIXES)
        except AbsentError:
            gathering.skip(where, f"no picture {file!r}", name)
        except RefusedError as refused:
            gathering.skip(where, str(refused), name)
        else:
            if gathering.picture(name, path, where):
                gathering.member(name, split_name("test" if split == "test1" else split, where), where)

    def _question(self, gathering: Gathering[Path], record: Any, number: int, where: str) -> None:
        try:
            if isinstance(record, Doubled) or not isinstance(record, dict):
                raise NoTextError(f"holds {what(record)}, which is no question")
            text_id, wanted, fields = self.question(record, number)
            for role, name in (("asks with", str(fields["reference"])), ("wants", wanted)):
                if name not in gathering.places:
                    raise NoTextError(f"it {role} picture {name!r}, which is not there")
        except NoTextError as error:
            gathering.skip(where, str(error))
            return
        gathering.text(wanted, fields, where, text_id)


def id_under(record: Mapping[str, Any], key: str) -> str:
    """An id under a key. Raises `NoTextError`."""
    try:
        found = name_of(walk(record, key))
    except NoTextError as error:
        raise NoTextError(f"{key} {error}") from None
    if not found:
        raise NoTextError(f"it has no {key}")
    return found
