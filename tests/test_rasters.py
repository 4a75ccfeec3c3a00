"""Only rasters are decoded, wherever a picture is opened: other formats of Pillow's run programs on what the file says."""

import re
from pathlib import Path

import pytest
from PIL import EpsImagePlugin

from picdesk.rasters import open_raster
from picdesk.report.loggers import RetrievedRow
from picdesk.report.thumbnails import Contact
from picdesk.report.wandb_media import _image
from picdesk.submissions.folders import open_picture
from tests.conftest import PROJECT

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(out) (w) file\n%%EOF\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a program in place of Ghostscript is called with, a line each."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # looked for once
    return tmp_path / "called"


def test_no_program_runs_on_what_lies_in_place_of_a_picture(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        open_raster(EPS)
    assert Contact(lambda name: EPS).of("a").uri == ""
    with pytest.raises(OSError, match="cannot identify"):
        _image(RetrievedRow("q", "text", 1, "a", 0.5, False, picture=EPS))
    (tmp_path / "a.png").write_bytes(EPS)
    assert open_picture(tmp_path / "a.png") is None
    assert not programs.exists(), programs.read_text()


def test_every_picture_is_opened_so() -> None:
    calls = [
        f"{path.name}: {line.strip()}"
        for path in (PROJECT / "src").rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\bImage\.open\((?!.*formats=)", line)
    ]
    assert calls == ["folders.py: with Image.open(path) as picture:"], "decodes what says that it is a PNG alone"
