"""`picdesk published`: every published number that can be had again here, or what is missing for it and how large that is.

picdesk published                              # all of conf/experiment/reproduce
picdesk published coco flickr30k               # those whose name holds one of the words
picdesk published --set paths.data_root=DIR    # where data sets lie; any key of the config
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from picdesk.assembly.needed import of_published
from picdesk.assembly.schema import CONF
from picdesk.errors import ConfigError
from picdesk.home import at_door
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.needs import Need, in_gb
from picdesk.process import machine
from picdesk.report.terminal import clean, console

FOLDER = "experiment/reproduce"


@dataclass(frozen=True)
class Published:
    """One published evaluation: its experiment, the numbers by direction, where they stand, and what is missing here."""

    name: str
    expected: Mapping[str, Mapping[str, float]]
    source: str
    missing: tuple[Need, ...]

    def hits(self, direction: Direction) -> str:
        """hits@1 as published, where it was."""
        value = self.expected.get(direction, {}).get("hits@1")
        return "" if value is None else f"{value:.3f}"

    @property
    def verdict(self) -> str:
        """`can be checked here`, or what is missing."""
        told = (f"{need.what}{f' ({in_gb(need.size)})' if need.size else ''}" for need in self.missing)
        return f"missing: {'; '.join(dict.fromkeys(told))}" if self.missing else "can be checked here"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line that says what is wrong."""
    parser = argparse.ArgumentParser(
        prog="picdesk published", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only experiments whose name holds one of these")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the config")
    given = parser.parse_args(arguments)
    return machine.command(lambda: run(given.words, given.set), "picdesk")


def run(words: Sequence[str], overrides: Sequence[str]) -> int:
    """Print the table."""
    names = [name for name in names_of_all() if not words or any(word in name for word in words)]
    if not names:
        raise ConfigError(f"no published number is named {' or '.join(words)}; there are {', '.join(names_of_all())}")
    looked = of_published([f"reproduce/{name}" for name in names], overrides)
    found = [
        Published(name, told["expected"], told["source"], tuple(need for need in needs if not need.there))
        for name, (told, needs) in zip(names, looked, strict=True)
    ]
    to = console()
    table = Table("experiment=reproduce/...", "t2i hits@1", "i2t hits@1", "here", box=None)
    for one in found:
        table.add_row(*map(clean, (one.name, *(one.hits(direction) for direction in DIRECTIONS), one.verdict)))
    to.print(table)
    ready = sum(not one.missing for one in found)
    to.print(f"{ready} of {len(found)} can be checked here; what to get for the others: ", end="")
    to.print(f"{at_door('evaluate')} task=doctor experiment=reproduce/NAME", markup=False)
    return 0


def names_of_all() -> list[str]:
    """Names of the experiments, in order."""
    return sorted(path.stem for path in (CONF / FOLDER).glob("*.yaml"))
