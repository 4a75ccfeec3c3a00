"""Text from elsewhere gives a terminal no orders."""

import io
import json
import logging
import tarfile
from pathlib import Path

import pytest

from picdesk.commands import check_submission, pack
from picdesk.text.lines import PlainFormatter


def test_a_log_line_steers_no_terminal() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", ("\x1b]0;owned\x07 \u202egnp.exe\r",), None)
    assert PlainFormatter("%(message)s").format(record) == "?]0;owned? ?gnp.exe?"


def test_texts_of_all_scripts_and_several_lines_stay() -> None:
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u00e9 \U0001f468\u200d\U0001f469\n\tnext"
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert PlainFormatter("%(message)s").format(record) == text


def test_the_error_of_a_command_steers_none_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = dict.fromkeys(("task", "config", "index", "started", "ended", "python", "platform"), "")
    odd = {"command": [], "seed": 0, "data": {}, "weights": {}, "code": {"version": ""}, "packages": {}}
    content = json.dumps(known | odd | {"counts": {"\x1b]0;owned\x07": "none"}}).encode()
    with tarfile.open(tmp_path / "job.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    assert pack.main(["--unpack", str(tmp_path / "job.tar.gz"), str(tmp_path / "job")]) == 2
    told = capsys.readouterr().err
    assert "counts.?]0;owned?: 'none' is not int" in told


def test_nor_do_the_names_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ids.csv").write_text("1\n")
    (tmp_path / "group" / "\x1b]0;owned\x07").mkdir(parents=True)
    assert check_submission.main([str(tmp_path / "group"), "--articles", str(tmp_path / "ids.csv")]) == 2
    told = capsys.readouterr().err
    assert "?]0;owned?" in told
    assert "\x1b" not in told
