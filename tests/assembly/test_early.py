"""What is refused before a class is loaded is what the class refuses too."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from picdesk.assembly.allowed import class_of
from picdesk.assembly.build import TARGET, TRAINING, fits, hints_of
from picdesk.assembly.early import WORDS_TOO
from picdesk.assembly.schema import CONF

GROUPS = sorted(
    {path.parent.name for path in CONF.glob("*/*.yaml")} - {"experiment", "hydra", "hparams_search", "paths"}
)


def numbers(node: dict[str, Any]) -> list[str]:
    return [key for key, value in node.items() if isinstance(value, int | float)]


@pytest.mark.parametrize("group", GROUPS)
def test_no_class_takes_a_word_where_its_option_has_a_number(group: str) -> None:
    for path in sorted((CONF / group).glob("*.yaml")):
        node: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if TARGET not in node:
            continue
        hints = hints_of(class_of(node[TARGET], group))
        words = [key for key in numbers(node) if key in hints and fits("a word", hints[key])]
        assert {f"{group}.{key}" for key in words} <= {*WORDS_TOO, "trainer.accelerator"} or group in ("optimizer",), (
            path
        )
    assert set(TRAINING) - {"callbacks", "forget_on"} <= set(GROUPS)
