"""Which id a name means that people wrote in another way: in letters of another case, or with another ending, or none."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from unicodedata import normalize

from picdesk.data.picture_formats import ENDINGS, UNREAD
from picdesk.errors import examples

PICTURES = frozenset((*ENDINGS, *UNREAD))


def fold_name(name: str) -> str:
    """A name in the form in which names that differ by case, or by how accents are written, are equal."""
    return normalize("NFC", name).casefold()


def without_ending(name: str) -> str:
    """A name without the ending of a picture; one with another ending, or none (`v2.0`), as it is."""
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending.casefold() in PICTURES else name


def plain_path(name: str) -> str:
    """A path without what changes nothing in it: `sub/a.jpg` for `./sub//a.jpg`."""
    if "//" not in name and "./" not in name and not name.endswith(("/", "/.")):
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return ("/" if name.startswith("/") else "") + "/".join(parts)


class SameNames:
    """Names of one thing: the first of them is its id."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self._first: dict[str, str] = {}

    def first(self, name: str, thing: str) -> str:
        """The first name by which the thing was met."""
        found = self._first.setdefault(thing, name)
        if found != name:
            self.ids[name] = found
        return found

    def notes(self) -> list[str]:
        """What to say of names that came after the first."""
        if not self.ids:
            return []
        told = examples([f"{name} -> {first}" for name, first in self.ids.items()])
        return [f"{len(self.ids)} names mean a picture that has an earlier name, under which it is there once: {told}"]


class Claims:
    """The names by which the rows of a data set ask for files."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._folded: dict[str, list[str]] = {}

    def add(self, names: Iterable[str]) -> None:
        """Names that are asked for, before or while they are looked up."""
        for name in map(plain_path, names):
            if name not in self._names:
                self._names[name] = None
                if self._folded:
                    self._folded.setdefault(fold_name(name), []).append(name)

    def others(self, name: str, file: str) -> list[str]:
        """Names besides this one, and besides this one with or without its ending, that mean the file too but for case."""
        if not self._folded:
            for each in self._names:
                self._folded.setdefault(fold_name(each), []).append(each)
        forms = dict.fromkeys((fold_name(file), fold_name(without_ending(file))))
        found = [other for form in forms for other in self._folded.get(form, [])]
        plain = plain_path(name)
        return [
            other for other in found if plain not in (other, without_ending(other)) and without_ending(plain) != other
        ]


class Known:
    """Ids that `names` are looked up in: as they stand, else without case, else without case and ending, where one alone fits.

    `left_out` are ids that the data had too: a name that fits one of them fits no other, and means nothing. Nor does one that
    differs from its id by case or ending where another of the names fits that id as well: theirs is another picture. But a name
    may lack the ending of its id, or have one that its id lacks. `same` holds further names of ids.
    """

    def __init__(
        self,
        ids: Sequence[str],
        names: Iterable[str],
        left_out: Iterable[str] = (),
        same: Mapping[str, str] | None = None,
    ) -> None:
        self.ids = frozenset(ids)
        self.near: list[str] = []
        further = {name: found for name, found in (same or {}).items() if found in self.ids}
        self._same = {plain_path(name): name for name in reversed(ids)} | further
        self._left_out = frozenset(map(plain_path, left_out)) - self._same.keys()
        self._names = dict.fromkeys(names)

    def picture(self, name: str) -> str | None:
        """The id that the name means, None for none."""
        found = self._exact(name)
        if found is None:
            found = self._meant.get(name)
            if found is not None:
                self.near.append(name)
        return found

    def _exact(self, name: str) -> str | None:
        return name if name in self.ids else self._same.get(name) or self._same.get(plain_path(name))

    @cached_property
    def _meant(self) -> dict[str, str]:
        """The id of each name that stands for it in another spelling."""
        exact = {name: self._exact(name) for name in self._names}
        fits = {name: self._fit(name) for name, own in exact.items() if own is None}
        meant = {name: found for name, found in fits.items() if found is not None and found in self.ids}
        claims: dict[str, set[str]] = {own: {own} for own in exact.values() if own is not None}
        for name, found in meant.items():
            claims.setdefault(found, set()).add(name)
        one = {found for found, names in claims.items() if len(names - _stems(names)) == 1}
        return {name: found for name, found in meant.items() if found in one or without_ending(found) == name}

    def _fit(self, name: str) -> str | None:
        """The one id that a name fits but for its spelling, None for none or several."""
        plain = plain_path(name)
        if plain in self._left_out:
            return None
        folded = fold_name(plain)
        found = self._by_case.get(folded) or self._by_stem.get(without_ending(folded), [])
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_case(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in sorted(self.ids | self._left_out):
            found.setdefault(fold_name(plain_path(name)), []).append(name)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for folded, names in self._by_case.items():
            found.setdefault(without_ending(folded), []).extend(names)
        return found


def _stems(names: Iterable[str]) -> set[str]:
    """The names without their endings, of those that have one."""
    return {without_ending(name) for name in names if without_ending(name) != name}
