"""`task=check` leaves a page: what was found, and pictures that look alike side by side, with their whole ids."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.doors import run

Capture = pytest.CaptureFixture[str]


def test_look_alikes_stand_side_by_side(capfd: Capture, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("first", "second", "third", *(f"further-{number}" for number in range(12))):
        Image.fromarray(generator.integers(0, 255, (64, 96, 3), np.uint8)).save(folder / f"{name}.png")
    twin = "a-very-long-name-of-a-picture-that-a-terminal-would-have-cut-somewhere-in-the-middle.png"
    (folder / twin).write_bytes((folder / "first.png").read_bytes())
    out = tmp_path / "out" / "check"
    ran = run(
        capfd, tmp_path / "out", "evaluate", "task=check", "data=folder", f"data.root={folder}", f"hydra.run.dir={out}"
    )
    assert ran.status == 0, ran.err
    page = (out / "index.html").read_text()
    pair = page[page.index('<ul class="pairs">') :]
    assert f"<figcaption>{twin}</figcaption>" in pair
    assert "<figcaption>first.png</figcaption>" in pair
    assert pair.index("first.png") < pair.index("</li>")
    assert page.count("<image ") == 1  # the two are one picture
