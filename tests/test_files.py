"""Folders that one process changes at a time."""

import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from picdesk.errors import ConfigError
from picdesk.files import hold, write_json
from tests.conftest import PROJECT

HOLD = "import sys, time; from picdesk.files import hold\nwith hold(sys.argv[1]): print('held', flush=True); time.sleep(60)"


def test_no_change_is_lost_between_reading_and_writing(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    write_json(path, [])

    def add(item: int) -> None:
        with hold(tmp_path):
            there = json.loads(path.read_text())
            time.sleep(0.01)
            write_json(path, [*there, item])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    assert sorted(json.loads(path.read_text())) == list(range(8))


def test_who_waits_says_so_and_goes_on_when_the_other_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"PYTHONPATH": str(PROJECT / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with caplog.at_level(logging.INFO), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(enter, tmp_path)
            while "another process is changing it" not in caplog.text:
                assert not waiting.done()
                time.sleep(0.01)
            other.kill()
            assert waiting.result(20)


def enter(folder: Path) -> bool:
    with hold(folder):
        return True


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("")
    with (
        pytest.raises(ConfigError, match=r"index: it must be a folder that can be written to"),
        hold(tmp_path / "index"),
    ):
        pass
