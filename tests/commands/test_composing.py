"""What is composed once is what Hydra composes twice: the same configs, modes and mistakes."""

from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from picdesk.assembly import schema as schema
from picdesk.commands.composing import ComposedAhead, ListedOnce, run_composed_once
from tests.conftest import PROJECT
from tests.hydra_memory import AS_IT_COMES

LOOK = next(own for owner, name, own in AS_IT_COMES if (owner, name) == (Hydra, "get_mode"))
RUN, SWEEP = RunMode.RUN, RunMode.MULTIRUN


class Counting:
    """A loader that counts what it composes."""

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader, self.count = loader, 0

    def load_configuration(self, *given: Any, **named: Any) -> Any:
        self.count += 1
        return self.loader.load_configuration(*given, **named)


def composed(asked: RunMode, overrides: list[str], ahead: bool) -> tuple[str, RunMode, int]:
    """What Hydra runs (a config or an error, as text), how, and how often it composed; as `_run_app` goes about it."""
    place = create_automatic_config_search_path(str(PROJECT / "evaluate.py"), None, "conf")
    counting: Any = Counting(ConfigLoaderImpl(place))
    loader: Any = ComposedAhead(counting, asked) if ahead else counting
    hydra = Hydra(task_name="evaluate", config_loader=loader)
    GlobalHydra.instance().initialize(hydra)
    given = list(overrides)
    try:
        mode = LOOK(hydra, "evaluate", given)
        if mode is None or (asked == SWEEP and mode == RUN):
            mode = asked
            given.append(f"hydra.mode={asked.name}")
        config = hydra.compose_config(config_name="evaluate", overrides=given, run_mode=mode)
        return OmegaConf.to_yaml(config), mode, counting.count
    except Exception as error:
        return f"{type(error).__name__}: {error}", mode, counting.count
    finally:
        GlobalHydra.instance().clear()


CASES = {
    "a job": (RUN, ["index=hnsw", "seed=3"], 1),
    "a job that says so": (RUN, ["hydra.mode=RUN"], 1),
    "a job with a folder of its own": (RUN, ["hydra.run.dir=/tmp/x", "+experiment={}"], 1),
    "a sweep": (SWEEP, ["index=hnsw,flat", "seed=1,2"], 1),
    "a sweep that the mode asks for": (RUN, ["hydra.mode=MULTIRUN", "seed=1,2"], 3),
    "a search, whose option asks for a sweep": (RUN, ["hparams_search=heads_margin"], 2),
    "a key that is none": (RUN, ["lr=1"], 1),
    "a key that is none, in a sweep": (SWEEP, ["lr=1,2"], 1),
    "a wrong value": (RUN, ["top_k=abc"], 1),
    "an option that is none": (RUN, ["data=nowhere"], 3),
    "values of a sweep without one": (RUN, ["seed=1,2"], 2),
}


@pytest.mark.parametrize(("asked", "overrides", "most"), CASES.values(), ids=CASES)
def test_the_same_is_run(asked: RunMode, overrides: list[str], most: int) -> None:
    text, mode, _ = composed(asked, overrides, ahead=False)
    found, chosen, count = composed(asked, overrides, ahead=True)
    assert (found, chosen) == (text, mode)
    assert count <= most


def test_another_script_beside_the_doors_has_its_own_config() -> None:
    def job(cfg: Any) -> None:
        raise AssertionError("another config was run")

    def main() -> None:
        raise AssertionError("called")

    job.__module__ = "__main__"
    job.__code__ = job.__code__.replace(co_filename=str(PROJECT / "my_evaluate.py"))
    main.__wrapped__ = job  # type: ignore[attr-defined]
    assert not run_composed_once(main, ["seed=1"])


@pytest.mark.parametrize(
    "given",
    [
        ["--help", "--resolve"],
        ["--help", "-m"],
        ["--cfg", "job"],
        ["-m", "--multirun", "seed=1"],
        ["-cd", "mine", "seed=1"],
    ],
)
def test_flags_go_the_way_of_hydra(given: list[str]) -> None:
    assert not run_composed_once(lambda: pytest.fail("called"), given)


def test_help_lists_the_options_that_hydra_lists() -> None:
    place = create_automatic_config_search_path(str(PROJECT / "evaluate.py"), None, "conf")
    loader: Any = ConfigLoaderImpl(place)
    listed_once: Any = ListedOnce(loader)
    texts = [
        Hydra(task_name="evaluate", config_loader=own).format_config_groups(lambda group: True)
        for own in (loader, listed_once)
    ]
    assert "backbone/head: " in texts[0]
    assert texts[0] == texts[1]
