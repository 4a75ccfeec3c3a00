"""Faults tried by force, with counts. `python bench/faults.py [kills|damage|disk|hostile]...` (all parts without a name).

Each part is a module `faults_PART.py` with `rows()`. What a part found is kept in bench/results/faults.json, so that parts may
be run one at a time; the table in bench/results/faults.md is made from all that is there. PICDESK_FAULTS_SHARE=0.1 runs a tenth
of the trials and writes nothing.
"""

import importlib
import json
import os
import platform
import sys
import time

from faults_jobs import COUNTS, PROJECT, Row

RESULTS = PROJECT / "bench" / "results"
PARTS = {
    "kills": "Kills: KILL, TERM and INT at any moment of a job, then the next run",
    "damage": "Damaged files: bytes flipped, cut, zeroed, emptied",
    "disk": "Disks that fill up, and other faults of the machine",
    "hostile": "Jobs, configs and archives made to do harm",
}
MEANING = {
    "kills": "*refused*: the signal ended the job (the others were done before it came); *unchanged*: the next run succeeded, "
    "left the bytes of an undisturbed run, and nothing half-written lay about.",
    "damage": "*refused*: one line, exit status 2; *unchanged*: the result is that of the sound file (it was not needed, or was "
    "made anew); *silent changes*: other numbers.",
    "disk": "*refused*: one line, exit status 2, nothing half-written; *unchanged*: the job was complete.",
    "hostile": "*refused*: one line, exit status 2; *unchanged*: what is harmful had no effect.",
}


def main(names: list[str]) -> int:
    wrong = [name for name in names if name not in PARTS]
    if wrong:
        print(f"no part {', '.join(wrong)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    path = RESULTS / "faults.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    bad = 0
    for name in names or [part for part in PARTS if (PROJECT / "bench" / f"faults_{part}.py").is_file()]:
        begun = time.monotonic()
        rows: list[Row] = importlib.import_module(f"faults_{name}").rows()
        seconds = time.monotonic() - begun
        print("\n".join(table(rows)), f"\n{name}: {seconds:.0f} s")
        bad += sum(int(row[count]) for row in rows for count in COUNTS[3:])
        if "PICDESK_FAULTS_ONLY" in os.environ:  # rows that were tried again take the place of their own
            again = {row["kind"]: row for row in rows}
            rows = [again.get(row["kind"], row) for row in kept[name]["rows"]]
            seconds += kept[name]["seconds"]
        kept[name] = {
            "rows": rows,
            "seconds": round(seconds),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }
        if "PICDESK_FAULTS_SHARE" not in os.environ:
            path.write_text(json.dumps(kept, indent=1) + "\n")
            (RESULTS / "faults.md").write_text(page(kept))
    return int(bad > 0)


def table(rows: list[Row]) -> list[str]:
    """Rows and their sum."""
    heads = ("tried", *COUNTS)
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in COUNTS)} | note |", f"|---|{'---:|' * len(COUNTS)}---|"]
    lines[0] = f"| what {lines[0]}"
    total = {name: sum(int(row[name]) for row in rows) for name in heads}
    for row in [*rows, {"kind": "**all**", **total, "note": ""}]:
        lines.append(f"| {row['kind']} | {' | '.join(str(row[name]) for name in COUNTS)} | {row['note']} |")
    return lines


def page(kept: dict[str, dict[str, object]]) -> str:
    """The table of all parts that were run."""
    lines = [
        "# Faults tried by force",
        "",
        "Made by `bench/faults.py`. The last four columns of counts must be 0.",
        "",
    ]
    for name, title in PARTS.items():
        if name in kept:
            about = kept[name]
            lines += [f"## {title}", "", MEANING[name], "", *table(about["rows"])]  # type: ignore[arg-type]
            lines += ["", f"{about['seconds']} s on {about['machine']}.", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
