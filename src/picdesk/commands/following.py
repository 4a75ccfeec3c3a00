"""The line that a job ends with: the command that follows from what it did."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEARCH = '"what you look for"'


def next_step(cfg: Mapping[str, Any], folder: Path) -> str:
    """A command to type, or a page to open."""
    here, page = shlex.quote(str(folder)), folder / "index.html"
    steps = {
        "train": f"python retrieve.py ckpt={here} {SEARCH}",
        "evaluate": f"picdesk pack {here} job.tar.gz (one file that another person can check)",
        "encode": "the same command with task=evaluate, which finds every vector in the store",
        "check": "the same command with task=encode",
        "doctor": "the same command without task=doctor",
        "agreement": f"open {folder / 'agreement.json'}",
        "captioner": f"open {page}",
        "compare": f"open {page}",
        "tune_weights": f"open {page}",
        "tune_index": f"open {page}",
        "leaderboard": f"open {Path(str(cfg.get('dir'))) / 'leaderboard.html'}",
        "retrieve": f"open {page}",
    }
    index = f"python retrieve.py index_dir={shlex.quote(str(cfg.get('index_dir')))} {SEARCH}"
    steps |= dict.fromkeys(("index_build", "index_add", "index_remove"), index)
    return f"open {page}" if cfg.get("reproduce") else steps.get(str(cfg.get("task")), "")
