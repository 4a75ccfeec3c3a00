"""A door's process ends with all that Python does at its end, and quicker; a door that somebody else has called comes back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

SCRIPT = """
import atexit, logging, sys, threading, time
from picdesk.commands import door

class Taken:
    def __del__(self):
        print("taken apart")

left = Taken()
atexit.register(print, "registered")
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
atexit.register(logging.info, "what a library logs at the end")

def main():
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    print("done")
    if "wrong" in sys.argv:
        door.leave(ValueError("wrong"))

if __name__ == "__main__":
    door.read_command_line = lambda takes_text: None
    door.open_door(main)
    print("came back")
"""


def said(*call: str) -> tuple[int, list[str]]:
    """Exit status of a Python, and the lines that it wrote."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        [sys.executable, *call], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "script.py").write_text(SCRIPT)
    return str(tmp_path / "script.py")


def test_threads_and_what_is_registered_come_before_the_end(script: str) -> None:
    assert said(script) == (0, ["done", "thread", "registered"])


def test_a_mistake_has_its_status(script: str) -> None:
    assert said(script, "wrong") == (2, ["done", "thread", "registered"])


def test_a_door_that_was_called_comes_back(script: str) -> None:
    status, lines = said("-c", f"import runpy; runpy.run_path({script!r}, run_name='__main__'); print('after')")
    assert status == 0
    assert sorted(lines) == sorted(
        ["done", "came back", "after", "thread", "registered", "what a library logs at the end", "taken apart"]
    )


def test_the_installed_command_ends_with_its_door(script: str) -> None:
    call = "from picdesk.process import ending; ending.claim_process()"
    status, lines = said("-c", f"{call}\nimport runpy; runpy.run_path({script!r}, run_name='__main__'); print('after')")
    assert (status, lines) == (0, ["done", "thread", "registered"])


def test_the_command_under_a_profiler_comes_back(tmp_path: Path) -> None:
    profile, installed = tmp_path / "a.prof", tmp_path / "installed.py"
    installed.write_text("from picdesk.command import run_command\nrun_command()\n")
    status, lines = said("-m", "cProfile", "-o", str(profile), str(installed), "completion")
    assert (status, bool(lines)) == (0, True)
    assert profile.stat().st_size > 0


def test_who_alone_runs_a_command() -> None:
    claims = "from picdesk import command\nfrom picdesk.process import ending\n"
    claims += "command.main = lambda: print(bool(ending._OWN)) or 0\n"
    assert said("-c", f"{claims}command.run_command()") == (0, ["True"])
    assert said("-c", f"{claims}exec('command.run_command()')") == (0, ["False"])
    assert said("-c", f"{claims}def under(): command.run_command()\nunder()") == (0, ["False"])


def test_a_full_disk_under_the_output_is_no_success(script: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
        done = subprocess.run(
            [sys.executable, script], env=environment, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode != 0
    assert b"No space left" in done.stderr
