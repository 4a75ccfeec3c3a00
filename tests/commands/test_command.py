"""The `picdesk` command finds its doors and its config from any folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from picdesk import command


def test_a_door_opens_from_anywhere(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "picdesk.command", "evaluate", "--cfg", "job", "--package", "index"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "_target_: picdesk.search" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_tool_has_a_main(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in command.TOOLS:
        monkeypatch.setattr(sys, "argv", ["picdesk", name, "--help"])
        with pytest.raises(SystemExit) as stop:
            command.main()
        assert stop.value.code == 0
        assert "usage" in capsys.readouterr().out


def test_what_is_no_command_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["picdesk", "serch"])
    assert command.main() == 2
    assert "picdesk retrieve" in capsys.readouterr().err
