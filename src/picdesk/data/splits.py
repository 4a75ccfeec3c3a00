"""Which picture is in which split. A split is made by picture, so all texts of a picture go with it.

Each class has `assign(collection, see)`, which gives the positions of the pictures (int64, ascending) under the keys train, val
and test. The three never overlap; any of them may be empty unless said otherwise. `see` tells what is known of the pictures'
content to a split that asks (`groups.See`). `notes` are what the last assignment has to say of itself.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Collection, Skipped
from picdesk.data.chance import place_groups, random_order
from picdesk.data.groups import WORDS, See, chosen_kinds, components, find_links, see_all
from picdesk.errors import ConfigError, check_fraction
from picdesk.parts import config_part

__all__ = ["NAMES", "PARTS", "All", "Official", "OfficialDev", "Random", "Splits", "random_order", "share"]
Splits = Mapping[str, NDArray[np.int64]]
NAMES = ("train", "val", "test")
PARTS = (*NAMES, "all")
PARTED = "split.groups=none: pictures that look alike, or have one text, may stand in two parts"


def share(count: int, fraction: float) -> int:
    """A fraction of a count, rounded half up."""
    return int(count * fraction + 0.5)


def _positions(rows: Sequence[int]) -> NDArray[np.int64]:
    return np.sort(np.array(rows, np.int64))


def _rows_marked(collection: Collection, split: str) -> list[int]:
    return [i for i, name in enumerate(collection.official) if name == split]


def _lack_of_marks(collection: Collection, wanted: Sequence[str], option: str, instead: str) -> str:
    """Which of the wanted lists the data set does not have, and what to use instead; "" if it has them all."""
    counts = {name: len(_rows_marked(collection, name)) for name in NAMES}
    absent = [name for name in wanted if not counts[name]]
    if not absent:
        return ""
    found = ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none at all"
    what = " and ".join(repr(name) for name in absent)
    return f"split={option}: data={collection.name} has no {what} list (found: {found}); {instead}"


class Split:
    """What draws the parts of a data set. After `assign`, `notes` is what is to be said of them, `skipped` what was not used."""

    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    _may_be_empty = False

    def assign(self, collection: Collection, see: See = see_all) -> Splits:
        """Positions of the pictures of train, val and test."""
        raise NotImplementedError

    def part_freely(self) -> None:
        """To be called where all parts are taken together: what belongs together need not be looked for, no part be filled."""
        self.allow_empty()

    def allow_empty(self) -> None:
        """To be called where no part is trained on or scored: one that would be empty is said in `notes`, and is no error."""
        self._may_be_empty = True

    def _tell_empty(self, line: str) -> None:
        """Say what would be empty. Raises `ConfigError` unless that is allowed."""
        if line and not self._may_be_empty:
            raise ConfigError(line)
        self.notes = (*self.notes, *([line] if line else []))


@config_part
class Official(Split):
    """The split that comes with the data set. Raises `ConfigError` if there is no test part; unlisted pictures are left out."""

    def assign(self, collection: Collection, see: See = see_all) -> Splits:
        """The data set's own lists."""
        dev = bool(_rows_marked(collection, "train") and _rows_marked(collection, "val"))
        instead = "split=official_dev reports on the val list" if dev else "use split=random_80_10_10 or split=file"
        self.notes = ()
        self._tell_empty(_lack_of_marks(collection, ["test"], "official", instead))
        return {name: _positions(_rows_marked(collection, name)) for name in NAMES}


@config_part
class OfficialDev(Split):
    """Reports on the official val (dev) list, for data whose test list is kept back.

    Validation is carved out of the official train list by seed, so the pictures that are reported on choose nothing.
    """

    def __init__(self, seed: int, fraction: float = 0.1) -> None:
        check_fraction("split.fraction", fraction)
        self.seed = seed
        self.fraction = fraction

    def assign(self, collection: Collection, see: See = see_all) -> Splits:
        """test = the official val list; val = a fraction of the official train list; train = the rest of it."""
        instead = "use split=random_80_10_10 or split=file"
        self.notes = ()
        self._tell_empty(_lack_of_marks(collection, ["train", "val"], "official_dev", instead))
        train = _rows_marked(collection, "train")
        order = [train[i] for i in random_order([collection.picture_ids[i] for i in train], self.seed)]
        count = share(len(order), self.fraction)
        parts = {"train": order[count:], "val": order[:count], "test": _rows_marked(collection, "val")}
        return {name: _positions(rows) for name, rows in parts.items()}


@config_part
class Random(Split):
    """By seed: fractions of the pictures. Pictures that belong together are never parted, by `groups`: some of `pictures`
    (equal ones), `near` (near-duplicates) and `texts` (equal texts), or `none`. Without the key nothing is grouped, so that a
    config of before there was one draws what it drew.

    Raises `ConfigError` if the fractions do not add up to 1.
    """

    def __init__(
        self,
        seed: int,
        train: float = 0.8,
        val: float = 0.1,
        test: float = 0.1,
        groups: str | Sequence[str] | None = None,
    ) -> None:
        for name, fraction in zip(NAMES, (train, val, test), strict=True):
            check_fraction(f"split.{name}", fraction)
        if abs(train + val + test - 1) > 1e-9:
            raise ConfigError(
                f"split.train={train}, split.val={val}, split.test={test} add up to {train + val + test:g}, not 1"
            )
        self.seed = seed
        self.fractions = (train, val, test)
        self.groups = chosen_kinds(groups)

    def part_freely(self) -> None:
        """Draw by pictures alone."""
        super().part_freely()
        self.groups = ()

    def assign(self, collection: Collection, see: See = see_all) -> Splits:
        """Draw the groups into train, val and test (`chance.place_groups`), and fill each up with the other pictures, in the
        order that the seed gives them. So the fractions are met, unless a group is larger than all room there is.
        """
        ids = collection.picture_ids
        val, test = (share(len(ids), fraction) for fraction in self.fractions[1:])
        sizes = dict(zip(NAMES, (len(ids) - val - test, val, test), strict=True))
        groups = self._groups(collection, max(1, max(sizes.values()) // 2), see)
        parts = place_groups(ids, groups, sizes, self.seed)
        grouped = {i for group in groups for i in group}
        rest = [i for i in random_order(ids, self.seed) if i not in grouped]
        for name in NAMES:
            room = max(0, sizes[name] - len(parts[name])) if name != "test" else len(rest)
            parts[name] += rest[:room]
            rest = rest[room:]
        empty = [name for name, wanted in zip(NAMES, self.fractions, strict=True) if wanted and not parts[name]]
        if empty:
            hint = " (split.groups=none parts what belongs together)" if groups else ""
            few = f"split=random: {len(ids)} pictures are too few: {' and '.join(empty)} would be empty{hint}"
            self._tell_empty(f"{few}; split=all takes them all as test")
        return {name: _positions(part) for name, part in parts.items()}

    def _groups(self, collection: Collection, most: int, see: See) -> list[list[int]]:
        """The groups of two pictures or more, and in `notes` what is to be said of them."""
        self.notes = (PARTED,)
        if not self.groups:
            return []
        links = find_links(collection, self.groups, see)
        groups, left_out = components(links, most)
        what = ", ".join(WORDS[kind] for kind in self.groups)
        largest = max(map(len, groups), default=0)
        found = f"{sum(map(len, groups)):,} pictures are in {len(groups):,} groups, the largest of {largest}"
        said = f"split by groups of {what}: {found if groups else 'there are none'}"
        self.notes = (said, *links.notes, *left_out)
        return groups


@config_part
class All(Split):
    """Everything is test: for scoring a model on the whole of a data set."""

    def assign(self, collection: Collection, see: See = see_all) -> Splits:
        """Every picture in test."""
        empty = np.empty(0, np.int64)
        return {"train": empty, "val": empty.copy(), "test": np.arange(len(collection.picture_ids), dtype=np.int64)}
