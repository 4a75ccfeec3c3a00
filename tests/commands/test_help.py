"""What `--help` tells: the tasks of a door, keys that exist, examples that compose."""

import re
import shlex

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from picdesk.assembly import schema
from picdesk.assembly.command_line import door_arguments

DOORS = ("train", "evaluate", "retrieve")


def help_of(door: str) -> tuple[str, str, str]:
    """Header, the shared middle and footer of a door's help."""
    base, own = (OmegaConf.to_container(OmegaConf.load(schema.CONF / f"{name}.yaml")) for name in ("base", door))
    header = OmegaConf.create({"it": own["hydra"]["help"]["header"]}).it  # type: ignore[index,call-overload]
    return header, base["hydra"]["help"]["template"], own["hydra"]["help"]["footer"]  # type: ignore[index,call-overload,return-value]


@pytest.mark.parametrize("door", ["evaluate", "retrieve"])
def test_every_task_has_a_line(door: str) -> None:
    there = {path.stem for path in (schema.CONF / "task").glob("*.yaml") if f"\ndoor: {door}\n" in path.read_text()}
    assert len(there) >= 5
    assert set(re.findall(r"^  (\w+) {2,}\S", help_of(door)[0], re.MULTILINE)) == there


@pytest.mark.parametrize("door", DOORS)
def test_the_keys_are_there(door: str) -> None:
    schema.register()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        cfg = compose(door)
    keys = [key for line in help_of(door)[1:] for key in re.findall(r"^  ([a-z_.]+)=", line, re.MULTILINE)]
    assert len(keys) >= 18
    for key in keys:
        owner = OmegaConf.select(cfg, key.rpartition(".")[0]) if "." in key else cfg
        assert key.rpartition(".")[2] in owner or key in cfg.task, key


def test_an_optimizer_of_ones_own_needs_no_rate() -> None:
    """The help names the default of its rate, and ended there where it has none."""
    schema.register()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        footers = [
            compose("train", overrides=given, return_hydra_config=True).hydra.help.footer
            for given in ([], ["~optimizer.lr"])
        ]
    assert "optimizer.lr=0.003 " in footers[0]
    assert "optimizer.lr=N " in footers[1]


@pytest.mark.parametrize("door", DOORS)
def test_the_examples_compose(door: str) -> None:
    examples = re.findall(rf"^  \$\{{door:{door}\}}(.*)$", help_of(door)[2], re.MULTILINE)
    assert len(examples) >= 4
    schema.register()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        for example in examples:
            words = door_arguments(shlex.split(example), door == "retrieve")
            compose(door, overrides=[re.sub(r",.*", "", word) for word in words if word != "-m"])
