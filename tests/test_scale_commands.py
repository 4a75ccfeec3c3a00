"""Every command in docs/scale.md composes: its options exist and its parts take the keys that it gives them."""

import shlex
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from picdesk.pipelines import config
from picdesk.pipelines.build import check_all
from tests.conftest import PROJECT

PAGE = PROJECT / "docs" / "scale.md"
COMMANDS = [line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    python ")]


@pytest.fixture(autouse=True)
def composer() -> Iterator[None]:
    config.register()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        yield


def first_of_each(words: list[str]) -> list[str]:
    """The overrides of a sweep's first job."""
    chosen = []
    for override in OverridesParser.create().parse_overrides(words):
        if override.is_sweep_override():
            chosen.append(f"{override.get_key_element()}={next(override.sweep_string_iterator())}")
        else:
            chosen.append(override.input_line or "")
    return chosen


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes(command: str) -> None:
    _, door, *words = shlex.split(command)
    swept = "-m" in words
    overrides = [word for word in words if word != "-m"]
    launched = [word for word in overrides if word.startswith("hydra")]
    if launched:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the submitit launcher is not installed")
    cfg = compose(
        door.removesuffix(".py"),
        overrides=first_of_each(overrides) if swept else overrides,
        return_hydra_config=bool(launched),
    )
    with open_dict(cfg):
        cfg.pop("hydra", None)
    check_all(cfg)
