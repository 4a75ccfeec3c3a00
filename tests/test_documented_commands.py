"""Every command of the README and the docs composes: its options exist and its parts take the keys that it gives them."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from picdesk.assembly import schema
from picdesk.assembly.build import check_all
from picdesk.assembly.command_line import door_arguments
from picdesk.command import TOOLS
from tests.conftest import PROJECT

PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
OF_PLUGINS = "plugins=[mylab]"  # a package that is not there: tests/test_plugins.py runs what it has
DOOR = re.compile(r"^    (?:python (?=\w+\.py)|picdesk )((?:train|evaluate|retrieve|serve)(?:\.py)? .*)$", re.MULTILINE)
TOOL = re.compile(rf"^    picdesk ((?:{'|'.join(TOOLS)})(?: .*)?)$", re.MULTILINE)
UNLISTED = ("experiment", "hydra", "paths", "task")  # recipes and tasks have lines of their own in --help
LEFT_OPEN = re.compile(r"^(\w+=)?\.\.\.$")  # `data=...`: any; `...`: as above


def commands(form: re.Pattern[str] = DOOR) -> list[tuple[str, str]]:
    """Page and command, lines that go on taken together."""
    texts = [(page.name, page.read_text(encoding="utf-8").replace("\\\n", " ")) for page in PAGES]
    found = [(name, command) for name, text in texts for command in form.findall(text)]
    return [(name, command) for name, command in found if OF_PLUGINS not in command]


@pytest.fixture(autouse=True, scope="module")
def composer() -> Iterator[None]:
    schema.register()
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
    pages = {name for name, _ in commands()}
    assert {
        "README.md",
        "backbones.md",
        "finetuning.md",
        "queries.md",
        "reranking.md",
        "scale.md",
        "serving.md",
        "systems.md",
    } <= pages
    assert len(commands()) >= 60


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_composes(page: str, command: str) -> None:
    door, *words = shlex.split(command, comments=True)
    swept = "-m" in words
    words = door_arguments(
        [word for word in words if not LEFT_OPEN.match(word)], door.removesuffix(".py") == "retrieve"
    )
    overrides = [word for word in words if word != "-m"]
    launched = [word for word in overrides if word.startswith(("hydra", "hparams_search"))]
    if any("slurm" in word for word in launched):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the submitit launcher is not installed")
    cfg = compose(
        door.removesuffix(".py"),
        overrides=first_of_each(overrides) if swept else overrides,
        return_hydra_config=bool(launched),
    )
    with open_dict(cfg):
        cfg.pop("hydra", None)
    check_all(cfg)


class ReadError(Exception):
    """The arguments were read."""


@pytest.mark.parametrize(("page", "command"), commands(TOOL))
def test_a_tool_takes_its_arguments(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *words = shlex.split(command, comments=True)
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser: argparse.ArgumentParser, *given: list[str]) -> None:
        parse(parser, *given)
        raise ReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    with pytest.raises(ReadError):
        importlib.import_module(f"picdesk.commands.{name.replace('-', '_')}").main(words)


def test_every_option_of_every_group_is_listed() -> None:
    listed = {name: (PROJECT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("doors", "backbones")}
    groups = [group for group in (PROJECT / "conf").iterdir() if group.is_dir() and group.name not in UNLISTED]
    options = [(group.name, option.stem) for group in groups for option in group.glob("*.yaml")]
    assert len(options) > 100
    where = {"backbone": "backbones"}
    assert [one for one in options if f"`{one[1]}`" not in listed[where.get(one[0], "doors")]] == []


def test_every_file_that_the_pages_name_is_there() -> None:
    named = re.compile(r"`((?:tests|bench|scripts|src)/[\w/.-]+\.\w+)`")
    found = [(page.name, file) for page in PAGES for file in named.findall(page.read_text(encoding="utf-8"))]
    assert len(found) > 20
    assert [(page, file) for page, file in found if not (PROJECT / file).is_file()] == []


def test_both_forms_and_the_tools_are_found() -> None:
    doors = {command.split()[0] for _, command in commands()}
    assert {"train.py", "retrieve.py", "train", "evaluate", "retrieve", "serve"} <= doors
    assert {command.split()[0] for _, command in commands(TOOL)} >= {"pack", "published", "check-submission"}
