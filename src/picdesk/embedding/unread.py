"""Texts that the model does not see: cut at its context, or of unknown tokens only; and different items with one vector.

What the tokenizer does to a text is found out once and kept beside the features, so that a warm store is only looked up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picdesk.embedding.claims import Claims
from picdesk.files import written_whole
from picdesk.interfaces import CUT, UNKNOWN, Backbone, Modality

log = logging.getLogger(__name__)
FILE = "flags.npy"  # in `texts.npy`, of earlier versions, texts are cut that are not
RECORD = np.dtype([("key", "<u8"), ("flags", "u1")])
Look = Callable[[list[int]], NDArray[np.uint8]]


class Kept:
    """The flags of texts by the head of their key, in one file of a space; one that cannot be read is made anew."""

    def __init__(self, folder: Path, claims: Claims) -> None:
        self._path, self._claims = folder / FILE, claims
        self._records = self._read()

    def flags(self, keys: Sequence[bytes], look: Look) -> NDArray[np.uint8]:
        """Flags [n] of the keys; `look` gives those of positions that are not known yet."""
        heads = np.frombuffer(b"".join(key[:8] for key in keys), "<u8")
        found, known = self._find(heads)
        if not known.all():
            rows = np.flatnonzero(~known)
            found[rows] = look(rows.tolist())
            self._add(heads[rows], found[rows])
        return found

    def _find(self, heads: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        own = self._records["key"]
        place = np.minimum(np.searchsorted(own, heads), max(len(own) - 1, 0))
        known = own[place] == heads if len(own) else np.zeros(len(heads), bool)
        return np.where(known, self._records["flags"][place] if len(own) else 0, 0).astype(np.uint8), known

    def _add(self, heads: NDArray[np.uint64], flags: NDArray[np.uint8]) -> None:
        new = np.empty(len(heads), RECORD)
        new["key"], new["flags"] = heads, flags
        with self._claims.turn():  # another job may have added some meanwhile
            both = np.concatenate([self._read(), new])
            self._records = both[np.unique(both["key"], return_index=True)[1]]
            with written_whole(self._path) as temporary, temporary.open("wb") as file:
                np.save(file, self._records, allow_pickle=False)

    def _read(self) -> NDArray[np.void]:
        try:
            records: NDArray[np.void] = np.load(self._path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return np.empty(0, RECORD)
        sound = records.dtype == RECORD and records.ndim == 1 and bool((np.diff(records["key"]) > 0).all())
        return records if sound else np.empty(0, RECORD)


@dataclass
class Unread:
    """What a job met, by its kind, and whose; each text and picture counts once."""

    seen: dict[tuple[str, str], dict[bytes, int]] = field(default_factory=dict)
    alike: dict[tuple[str, str], set[bytes]] = field(default_factory=dict)
    context: dict[str, int | None] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def look(self, backbone: Backbone, kept: Kept, texts: Sequence[str], keys: Sequence[bytes]) -> None:
        """Take down what the tokenizer leaves of some texts, by what is `kept` of them."""
        if backbone.context is None:
            return

        def flags_of(rows: list[int]) -> NDArray[np.uint8]:
            found = backbone.text_flags([texts[i] for i in rows])
            assert found is not None
            return found

        flags = kept.flags(keys, flags_of)
        self.context[backbone.name] = backbone.context
        self.seen.setdefault((backbone.name, "text"), {}).update(zip(keys, flags.tolist(), strict=True))

    def note_same_vectors(
        self, backbone: Backbone, modality: Modality, keys: Sequence[bytes], features: NDArray[np.float32]
    ) -> None:
        """Take down which items have the vector of another one that is not the same."""
        found = {keys[i] for i in same_vectors(keys, features)}
        if found:
            self.alike.setdefault((backbone.name, modality), set()).update(found)

    def lines(self) -> tuple[str, ...]:
        """One line for each kind."""
        lines = []
        for (name, _), flags in self.seen.items():
            for bit, words in (
                (CUT, "longer than the {most} tokens that {name} reads: the rest of each is cut off"),
                (UNKNOWN, "made of tokens only that are unknown to {name}, which cannot tell them apart"),
            ):
                count = sum(bool(value & bit) for value in flags.values())
                if count:
                    be = "is" if count == 1 else "are"
                    told = words.format(most=self.context[name] or "", name=name)
                    lines.append(f"{count:,} of {len(flags):,} texts {be} {told}")
        for (name, modality), keys in self.alike.items():
            what = "pictures" if modality == "image" else "texts"
            lines.append(f"{len(keys):,} different {what} have the same vector as another one by {name}")
        return tuple(lines)

    def take_over(self, other: Unread) -> None:
        """Count what another job of the same sweep met, whose features are used."""
        for place, flags in other.seen.items():
            self.seen.setdefault(place, {}).update(flags)
        for place, keys in other.alike.items():
            self.alike.setdefault(place, set()).update(keys)
        self.context |= other.context
        self.say()

    def say(self) -> None:
        """Log what is new of it."""
        for line in self.lines():
            if line not in self._said:
                self._said.add(line)
                log.warning("%s", line)

    def counts(self) -> dict[str, int]:
        """For the manifest; only what there is."""
        flags = [value for own in self.seen.values() for value in own.values()]
        found = {
            "texts_cut": sum(bool(value & CUT) for value in flags),
            "texts_unknown": sum(bool(value & UNKNOWN) for value in flags),
            "texts_alike": sum(len(keys) for (_, modality), keys in self.alike.items() if modality == "text"),
            "pictures_alike": sum(len(keys) for (_, modality), keys in self.alike.items() if modality == "image"),
        }
        return {name: count for name, count in found.items() if count}


def same_vectors(keys: Sequence[bytes], features: NDArray[np.float32]) -> list[int]:
    """Positions of the rows that are equal, to the bit, to the row of another key."""
    if len(features) < 2 or features.shape[1] < 2:
        return []
    heads = np.ascontiguousarray(features[:, :2]).view(np.uint64)[:, 0]
    _, place, count = np.unique(heads, return_inverse=True, return_counts=True)
    groups: dict[bytes, dict[bytes, int]] = {}
    for row in np.flatnonzero(count[place] > 1).tolist():  # only these can be equal
        groups.setdefault(features[row].tobytes(), {}).setdefault(keys[row], row)
    return sorted(row for group in groups.values() if len(group) > 1 for row in group.values())
