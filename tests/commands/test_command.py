"""The `picdesk` command finds its doors and its config from any folder."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from picdesk import command, home
from tests.conftest import PROJECT
from tests.doors import close_job_log


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is noted of how this process was started, for one test."""
    noted: list[str] = []
    monkeypatch.setattr(home, "_STARTED_BY", noted)
    return noted


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("train.py", "python retrieve.py"),
        ("/a b/evaluate.py", "python '/a b/retrieve.py'"),
        ("/bin/pytest", "python retrieve.py"),
    ],
)
def test_what_to_do_next_is_told_by_the_script_that_runs(
    monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "ckpt=latest"])
    assert home.at_door("retrieve") == told


@pytest.fixture
def says(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[str, str]]]:
    """What `picdesk` says to either stream, called in a folder of its own, but in this process, where Hydra leaves nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)

    def call(*words: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["picdesk", *words])
        assert command.main() == 0
        return capfd.readouterr()

    yield call
    close_job_log()


def test_the_command_tells_of_itself_and_of_the_defaults_of_its_door(says: Callable[..., tuple[str, str]]) -> None:
    told = {}
    for door in ("train", "retrieve"):
        told[door], _ = says(door, "--help")
        assert "python " not in told[door]
    assert "picdesk retrieve photo.jpg ckpt=latest" in told["retrieve"]
    assert "train, val, test or all; here all unless" in told["retrieve"]
    assert "train, val, test or all; here test unless" in told["train"]
    assert "optimizer.lr=0.003 " in told["train"]


def test_a_tool_names_the_command(
    started: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["picdesk", "pack", "nowhere", "job.tar.gz"])
    assert command.main() == 2
    assert started == ["picdesk"]
    assert home.at_door("evaluate") == "picdesk evaluate"


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


def completed(lines: Sequence[str], setup: str, function: str, tmp_path: Path) -> list[list[str]]:
    """What bash offers for each of the lines that are being typed."""
    (tmp_path / "picdesk").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m picdesk.command "$@"\n')
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for name in ("picdesk", "python"):
        (tmp_path / name).chmod(0o755)
    script = f'eval "$({setup})"\n'
    for line in lines:
        words = [f"'{word}'" for word in line.split(" ")]
        script += f"""COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDS=({" ".join(words)})
            COMP_CWORD={len(words) - 1}; COMPREPLY=(); {function}; echo "${{COMPREPLY[@]}}"\n"""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return [offered.split() for offered in done.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_completes_both_forms(tmp_path: Path) -> None:
    of_files = ("python train.py -sc install=bash", "hydra_bash_completion", tmp_path)
    options, keys = completed(("python retrieve.py index=hn", "python train.py optimizer.l"), *of_files)
    assert options == ["index=hnsw"]
    assert "optimizer.lr=" in keys
    of_command = ("picdesk completion", "_picdesk", tmp_path)
    lines = ("picdesk tr", "picdesk retrieve index=hn")
    assert completed(lines, *of_command) == [["train"], ["index=hnsw"]]


@pytest.mark.parametrize("flag", ["--config-dir", "-cd"])
def test_options_of_ones_own_folder(says: Callable[..., tuple[str, str]], tmp_path: Path, flag: str) -> None:
    own = tmp_path / "mine (own)" / "experiment"
    own.mkdir(parents=True)
    (own / "quick.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.5\n")
    asked = [flag, str(own.parent), "experiment=quick", "--cfg", "job", "--package", "optimizer"]
    out, err = says("train", *asked)
    assert "lr: 0.5" in out, err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv", path=Path(sys.executable).parent) is None, reason="uv is not here")
def test_a_wheel_has_all_that_the_doors_need(tmp_path: Path) -> None:
    copied = tmp_path / "source"
    left_out = shutil.ignore_patterns(".*", "outputs", "tests", "bench", "__pycache__", "*.egg-info", "build")
    shutil.copytree(PROJECT, copied, ignore=left_out)
    uv = str(Path(sys.executable).parent / "uv")
    build = [
        uv,
        "build",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "-o",
        str(tmp_path),
        str(copied),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    venv.create(tmp_path / "env", with_pip=False)
    place = next((tmp_path / "env").glob("lib/*/site-packages"))
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), place, "zip")
    (place / "others.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    call = [str(tmp_path / "env/bin/python"), "-m", "picdesk.command"]
    done = subprocess.run(
        [*call, "evaluate", "task=doctor", f"paths.outputs={tmp_path / 'out'}", "logger=none"],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = (tmp_path / "out").rglob("doctor.json")
    assert f"{place}/picdesk/shipped/data" in told.read_text()
