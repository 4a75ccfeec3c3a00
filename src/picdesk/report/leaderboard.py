"""`leaderboard.csv`: a sweep as a table that a spreadsheet or pandas reads."""

from pathlib import Path

from picdesk.files import written_whole
from picdesk.report.content import SweepPage
from picdesk.text.cells import PeopleWriter


def write_csv(path: Path | str, page: SweepPage) -> None:
    """Write a line a job, best first: job, each config key that differs, each metric with its interval, verdict, page.

    Numbers are in the shortest form that reads back to the same bits; failed jobs follow with their reason as verdict.
    """
    measured = [
        name for column in page.filled_columns for name in (column.key, f"{column.key}_low", f"{column.key}_high")
    ]
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        columns = ["job", *page.params, *measured, "verdict", "page"]
        writer = PeopleWriter(stream)
        writer.writerow(columns)
        for row in page.rows:
            line: dict[str, object] = {"job": row.name, "verdict": row.verdict, "page": row.page, **row.params}
            for key, value in row.values.items():
                if key in measured:
                    line |= {key: value.value, f"{key}_low": value.low, f"{key}_high": value.high}
            writer.writerow(line.get(name, "") for name in columns)
        for job, reason in page.failures:
            failed = {"job": job, "verdict": f"failed: {reason}"}
            writer.writerow(failed.get(name, "") for name in columns)
