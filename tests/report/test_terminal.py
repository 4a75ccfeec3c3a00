import io

from rich.cells import cell_len
from rich.console import Console

from picdesk.report import content as c
from picdesk.report import terminal
from tests.report import sample


def piped_text(show, *arguments) -> str:
    stream = io.StringIO()
    show(*arguments, terminal.console(stream))
    return stream.getvalue()


def test_piped_metrics_are_a_markdown_table():
    lines = piped_text(terminal.print_metrics, [sample.table()]).splitlines()
    assert lines[0] == "Text to picture: 1,200 queries, gallery of 500"
    assert lines[1] == "| metric    | trained              | untrained            | chance   |"
    assert lines[2] == "|-----------|----------------------|----------------------|----------|"
    assert lines[3] == "| hits@1    | 0.412 [0.391, 0.434] | 0.050 [0.010, 0.090] | 0.002    |"
    assert lines[4] == "| mean rank | 3.2                  | 40.0                 | –        |"


def test_recall_is_not_repeated_where_it_is_hits():
    same = {"hits@1": c.Value(0.4, 0.3, 0.5), "recall@1": c.Value(0.4, 0.3, 0.5), "hits@5": c.Value(0.6)}
    rows = (c.MetricRow("a", {**same, "recall@5": c.Value(0.6)}), c.MetricRow("b", same | {"recall@5": c.Value(0.5)}))
    text = piped_text(terminal.print_metrics, [c.MetricTable("t2i", rows, 10, 10)])
    assert "recall@1" not in text
    assert "recall@5" in text
    assert "recall@k is hits@k here" in text


def test_many_systems_stay_within_100_columns():
    values = {column.key: c.Value(0.5, 0.4, 0.6) for column in c.METRICS}
    rows = tuple(c.MetricRow(f"system {i}", values) for i in range(9))
    text = piped_text(terminal.print_metrics, [c.MetricTable("i2t", rows, 10, 10)])
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"system {i}" in text for i in range(9))
    assert text.count("hits@10") == 3


def test_retrieval_is_plain_and_narrow_whatever_the_titles_hold():
    nasty = "[red]\x1b[31m 猫" + "long title " * 30
    card = c.QueryCard("q" * 200, "t2i", (c.Ranking((c.Item("a|b", nasty, "", 0.51234, 1, True),), 1),), nasty)
    text = piped_text(terminal.print_retrieval, [card])
    assert "\x1b" not in text
    assert "[red]" in text
    assert r"a\|b" in text
    assert "0.5123" in text
    assert max(map(cell_len, text.splitlines())) <= 100


def test_on_a_terminal_there_are_colours_and_no_bars():
    stream = io.StringIO()
    to = Console(file=stream, force_terminal=True, width=120, color_system="standard", highlight=False)
    terminal.print_metrics([sample.table()], to)
    assert "\x1b[1;32m" in stream.getvalue()
    assert "|" not in stream.getvalue()


def test_the_leaderboard_drops_columns_rather_than_run_over():
    values = {column.key: c.Value(0.5, 0.4, 0.6) for column in c.METRICS}
    rows = tuple(c.LeaderRow(f"job-{i}", {"index": "flat", "reranker.weight": f"0.{i}"}, values) for i in range(3))
    page = c.SweepPage("s", "s", rows, failures=(("job-9", "no such index"),))
    lines = piped_text(terminal.print_leaderboard, page).splitlines()
    assert lines[0].startswith(
        "| job   | index | reranker.weight | hits@1               | hits@5               | median rank"
    )
    assert max(map(len, lines)) <= 100
    assert "[0.400, 0.600]" in lines[2]
    assert lines[-1] == "failed: job-9: no such index"
    assert piped_text(terminal.print_leaderboard, c.SweepPage("s", "s", ())) == ""
