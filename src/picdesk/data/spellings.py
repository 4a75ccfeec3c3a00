"""Which id a name means that people wrote in another way: in letters of another case, or with another ending, or none."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from unicodedata import normalize

from picdesk.data.picture_formats import ENDINGS, UNREAD

PICTURES = frozenset((*ENDINGS, *UNREAD))


def fold_name(name: str) -> str:
    """A name in the form in which names that differ by case, or by how accents are written, are equal."""
    return normalize("NFC", name).casefold()


def without_ending(name: str) -> str:
    """A name without the ending of a picture; one with another ending, or none (`v2.0`), as it is."""
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending.casefold() in PICTURES else name


class Claims:
    """The names by which the rows of a data set ask for files."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._folded: dict[str, list[str]] = {}

    def add(self, names: Iterable[str]) -> None:
        """Names that are asked for, before or while they are looked up."""
        for name in names:
            if name not in self._names:
                self._names[name] = None
                if self._folded:
                    self._folded.setdefault(fold_name(name), []).append(name)

    def others(self, name: str, file: str) -> list[str]:
        """Names besides this one that mean the file too, but for case or its ending."""
        if not self._folded:
            for each in self._names:
                self._folded.setdefault(fold_name(each), []).append(each)
        forms = dict.fromkeys((fold_name(file), fold_name(without_ending(file))))
        return [other for form in forms for other in self._folded.get(form, []) if other != name]


class Known:
    """Ids that `names` are looked up in: as they stand, else without case, else without case and ending, where one alone fits.

    `left_out` are ids that the data had too: a name that fits one of them fits no other, and means nothing. Nor does one that
    differs from its id by case or ending where another of the names fits that id as well: theirs is another picture. But a name
    may lack the ending of its id, whatever the others are.
    """

    def __init__(self, ids: Sequence[str], names: Iterable[str], left_out: Iterable[str] = ()) -> None:
        self.ids = frozenset(ids)
        self.near: list[str] = []
        self._left_out = frozenset(left_out) - self.ids
        self._names = dict.fromkeys(names)

    def picture(self, name: str) -> str | None:
        """The id that the name means, None for none."""
        if name in self.ids:
            return name
        found = self._meant.get(name)
        if found is not None:
            self.near.append(name)
        return found

    @cached_property
    def _meant(self) -> dict[str, str]:
        """The id of each name that stands for it in another spelling."""
        fits = {name: self._fit(name) for name in self._names if name not in self.ids}
        meant = {name: found for name, found in fits.items() if found is not None and found in self.ids}
        claims: dict[str, list[str]] = {found: [found] for found in meant.values() if found in self._names}
        short = {name for name, found in meant.items() if without_ending(found) == name}
        for name, found in meant.items():
            if name not in short:
                claims.setdefault(found, []).append(name)
        return {name: found for name, found in meant.items() if name in short or len(claims[found]) == 1}

    def _fit(self, name: str) -> str | None:
        """The one id that a name fits but for its spelling, None for none or several."""
        if name in self._left_out:
            return None
        folded = fold_name(name)
        found = self._by_case.get(folded) or self._by_stem.get(without_ending(folded), [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_case(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in sorted(self.ids | self._left_out):
            found.setdefault(fold_name(name), []).append(name)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for folded, names in self._by_case.items():
            found.setdefault(without_ending(folded), []).extend(names)
        return found
