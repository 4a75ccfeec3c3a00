"""Each extra of the package is in one of the two locks."""

import re
import tomllib

from tests.conftest import PROJECT

OWN_LOCK = {"openvino"}


def test_every_extra_is_locked() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.search(r"^EXTRAS := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert named is not None
    assert set(named[1].split()) | OWN_LOCK == set(extras)
    assert not set(named[1].split()) & OWN_LOCK


def test_what_few_want_is_not_installed_for_all() -> None:
    assert not re.search(r"^openvino", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    locked = (PROJECT / "openvino.lock").read_text()
    assert re.search(r"^openvino==[\d.]+ \\$", locked, re.MULTILINE)
    assert "openvino-telemetry==" not in locked
