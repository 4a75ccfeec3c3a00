"""One attempt at one door, and what is counted of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hostile.configs import TEXTS, Change, questions, reaches, targets
from hostile.world import PROJECT, Ran, World, copy_job, edit, sign, tree

DOORS = ("reproduce", "ckpt", "compare", "leaderboard", "index_dir", "resume")


@dataclass
class Row:
    """One line of the table."""

    kind: str
    tried: int = 0
    refused: int = 0
    unchanged: int = 0
    code_run: int = 0
    secrets_sent: int = 0
    silent_changes: int = 0
    tracebacks: int = 0
    notes: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As the table takes it."""
        shown = {key: value for key, value in vars(self).items() if key != "notes"}
        return shown | {"note": "; ".join(self.notes)}


def at_door(made: World, door: str, change: Change | str) -> Ran:
    """Send a changed job to a door; what the door did."""
    name = {"ckpt": "train", "resume": "train", "index_dir": "index"}.get(door, "evaluate")
    folder = copy_job(made, name, "job")
    own = {"ckpt": folder / "checkpoint", "resume": folder / "resume"}.get(door, folder)
    if isinstance(change, str):
        (own / "config.yaml").write_text(change.replace("CANARY", str(made.canary)), encoding="latin-1")
    else:
        edit(own / "config.yaml", change)
    if (folder / "manifest.json").is_file():
        sign(folder)
    honest = made.jobs["evaluate"]
    asked = {
        "reproduce": ("evaluate", f"reproduce={folder / 'manifest.json'}"),
        "ckpt": ("evaluate", f"ckpt={own}", "bootstrap.resamples=50"),
        "compare": ("evaluate", "task=compare", f"dir={folder}", f"against={honest}"),
        "leaderboard": ("evaluate", "task=leaderboard", f"dir={folder.parent}"),
        "index_dir": ("retrieve", "query=a caption", f"index_dir={folder}", f"ckpt={made.jobs['train']}"),
        "resume": ("train", f"resume={folder}"),
    }[door]
    return made.door(*asked, f"paths.data_root={made.root / 'data'}")


def note(row: Row, made: World, ran: Ran, what: str, before: str) -> None:
    """Count one attempt."""
    row.tried += 1
    secrets, code = made.secrets_out(ran.text), made.canary.exists()
    row.code_run += code
    row.secrets_sent += bool(secrets)
    row.tracebacks += ran.traceback
    touched = tree(made.home) != before
    if ran.status == 0:
        changed = touched or numbers_differ(made)
        row.silent_changes += changed
        row.unchanged += not changed
    else:
        row.silent_changes += touched
        row.refused += ran.status == 2
    if code or secrets or touched or ran.traceback or ran.status not in (0, 2):
        row.notes.append(f"{what}: exit {ran.status}: {' '.join(ran.text.split())[-200:]}")
    made.canary.unlink(missing_ok=True)
    made.listener.heard.clear()
    shutil.rmtree(made.root / "out", ignore_errors=True)


def numbers_differ(made: World) -> bool:
    """Whether a reproduction that passed measured something else than the honest job."""
    found = sorted((made.root / "out" / "evaluate").rglob("metrics.json"))
    honest = made.jobs["evaluate"] / "metrics.json"
    theirs = [path.read_bytes() for path in found if "reproduce=" in (path.parent / "manifest.json").read_text()]
    return any(content != honest.read_bytes() for content in theirs)


def configs(made: World, door: str, every: bool) -> list[Row]:
    """Hostile configs at a door: all of them at reproduce=, and of each kind some (or all) at the others."""
    found = []
    kinds: dict[str, Mapping[str, Change | str]] = {"code": targets(made), "questions and addresses": questions(made)}
    kinds |= {"paths and kinds": reaches(made), "no YAML of ours": TEXTS}
    for kind, attacks in kinds.items():
        row = Row(f"{door}: {kind}")
        for i, (what, change) in enumerate(attacks.items()):
            if every or door == "reproduce" or i % 4 == 0:
                before = tree(made.home)
                note(row, made, at_door(made, door, change), what, before)
        found.append(row)
    return found


def processes(made: World) -> Row:
    """Some of them once more as a user does it, each in a process of its own."""
    row = Row("in processes of their own")
    attacks = {**dict(list(targets(made).items())[:2]), **dict(list(questions(made).items())[:1])}
    for what, change in attacks.items():
        folder = copy_job(made, "evaluate", "job")
        edit(folder / "config.yaml", change)
        sign(folder)
        before = tree(made.home)
        asked = (f"reproduce={folder / 'manifest.json'}", f"paths.outputs={made.root / 'out'}", "logger=none")
        done = subprocess.run(
            [sys.executable, str(PROJECT / "evaluate.py"), *asked, f"paths.data_root={made.root / 'data'}"],
            capture_output=True, text=True, check=False, cwd=PROJECT,
        )  # fmt: skip
        text = done.stdout + done.stderr
        note(row, made, Ran(done.returncode, text, "Traceback" in text), what, before)
    return row
