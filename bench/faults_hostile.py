"""What somebody may send who means harm, tried for real at every door. `python bench/faults_hostile.py`, `rows()` for a table.

Each attempt is made on a copy of an honest job. Code that ran leaves a file, secrets of the environment are looked for in all
that was said, written and sent to a listener on this machine, and what an accepted attempt measured must be what the honest job
did.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from hostile.files import archives, manifests, tables, torch_pickle, weights
from hostile.tries import DOORS, Row, configs, processes
from hostile.world import World, world


def rows(every: bool = False, only: str = "") -> list[dict[str, Any]]:
    """A row for each kind: how many were tried, refused or without effect, and what must be 0; `only` those of this name."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        (made.root / "evil.py").write_text(f"open({str(made.canary)!r}, 'w')\n")
        (made.root / "evil.pt").write_bytes(torch_pickle(made))
        kept = made.root / "honest"
        shutil.copytree(made.root / "out", kept)
        made.jobs |= {name: kept / made.jobs[name].relative_to(made.root / "out") for name in ("evaluate", "train")}
        honest = made.door("evaluate", f"reproduce={made.jobs['evaluate'] / 'manifest.json'}")
        assert honest.status == 0, honest.text
        shutil.rmtree(made.root / "out")
        ways: dict[str, Callable[[World], list[Row]]] = {
            door: partial(configs, door=door, every=every) for door in DOORS
        }
        ways |= {way.__name__: one_row(way) for way in (manifests, weights, tables, archives, processes)}
        found: list[dict[str, Any]] = []
        for name, way in ways.items():
            if only in ("", name):
                found += [row.plain() for row in way(made)]
                print("\n".join(json.dumps(row) for row in found[-4:]), file=sys.stderr, flush=True)
        return found


def one_row(way: Callable[[World], Row]) -> Callable[[World], list[Row]]:
    """The same, as a list."""
    return lambda made: [way(made)]


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--every"]
    for line in rows("--every" in sys.argv, *words[:1]):
        print(json.dumps(line))
