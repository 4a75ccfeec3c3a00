"""What jobs of a sweep have in common is composed once; each config is the one that Hydra composes, and so is each mistake."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import Container, DictConfig

from hydra_plugins.picdesk_sweeper import Composed, ComposedByKind
from picdesk.assembly import schema as schema
from picdesk.commands.composing import ComposedAhead
from tests.conftest import PROJECT

SHARED = ["ckpt=latest", "data=folder", "reranker=cross_backbone", "hydra.sweep.dir=/tmp/x"]
BY_FILES = {
    "a choice alone",
    "nothing",
    "a new key",
    "a key that is forced",
    "a key that is taken away",
    "a group that is added",
    "a mapping of Hydra",
    "Hydra's folders",
}
"""What Hydra composes for each job, as nothing is set or more than that is done."""
JOBS = {
    "values alone": ["seed=3", "top_k=20"],
    "a choice and a value": ["index=hnsw", "seed=4"],
    "a choice after a value": ["seed=5", "index=hnsw"],
    "a choice alone": ["index=ivf_flat"],
    "nothing": [],
    "the same twice": ["seed=3", "seed=4"],
    "a list": ["metrics.ks=[1,5]", "seed=1"],
    "a mapping of a key": ["metrics.folds=7", "metrics={names:[mrr]}"],
    "a mapping after a value": ["metrics.folds=5", "metrics={folds:3}"],
    "a value after a mapping": ["metrics={folds:3}", "metrics.folds=5"],
    "a mapping of a group after a value": ["trainer.max_epochs=5", "trainer={max_epochs:3}"],
    "a value after a mapping of a group": ["trainer={max_epochs:3}", "trainer.max_epochs=5"],
    "null": ["min_score=null", "seed=2"],
    "words in quotes": ["part='a b, c=d'", "seed=2"],
    "an interpolation": ["top_k=${seed}", "seed=9"],
    "a new key": ["+mine=3", "seed=2"],
    "a key that is forced": ["++seed=3", "top_k=7"],
    "a key that is taken away": ["~tolerance", "seed=3"],
    "a group that is added": ["+experiment={}", "seed=3"],
    "lines that were noted": ["hydra.overrides.task=[a]", "seed=3", "index=hnsw"],
    "keys of Hydra": ["hydra.job.chdir=true", "seed=3", "hydra.verbose=true"],
    "a mapping of Hydra": ["hydra={verbose:true}", "seed=3"],
    "Hydra's folders": ["hydra.searchpath=[file:///tmp]", "seed=3"],
}
MISTAKES = {
    "no such key": ["lr=1", "seed=2"],
    "no such choice": ["index=nowhere", "seed=2"],
    "a wrong value": ["top_k=abc", "seed=2"],
    "a value that is a sweep": ["top_k=1,2", "seed=2"],
    "a number for a group": ["index=3", "seed=2"],
    "no grammar": ["seed=[1", "top_k=2"],
    "a package of no group": ["seed@other=2"],
    "another package": ["index@other=flat", "seed=3"],
    "another key of Hydra": ["hydra.nothing=1", "seed=2"],
    "more than there is to take away": ["~nothing", "seed=2"],
}


class Counting(ConfigLoaderImpl):
    """Hydra's loader, which counts what it composes of files."""

    count = 0

    def load_configuration(self, *given: Any, **named: Any) -> DictConfig:
        self.count += 1
        return super().load_configuration(*given, **named)


@pytest.fixture(scope="module")
def loader() -> Iterator[Counting]:
    loader = Counting(create_automatic_config_search_path(str(PROJECT / "evaluate.py"), None, "conf"))
    GlobalHydra.instance().initialize(Hydra(task_name="evaluate", config_loader=loader))
    yield loader
    GlobalHydra.instance().clear()


@pytest.fixture(scope="module")
def master(loader: Counting) -> DictConfig:
    return loader.load_configuration("evaluate", [*SHARED, "seed=1,2"], RunMode.MULTIRUN)


@pytest.fixture(scope="module")
def by_kind(loader: Counting) -> ComposedByKind:
    return ComposedByKind(loader)


def nodes(node: Any, name: str = "") -> Iterator[tuple[str, ...]]:
    """All of a config, what it says and what may be set in it, a line for each key."""
    about = node._metadata
    said = (about.ref_type, about.object_type, about.optional, about.flags, about.resolver_cache)
    inner = node._content if isinstance(node, Container) else node._value()
    plain = not isinstance(inner, dict | list)
    yield name, type(node).__name__, repr(said), repr(inner) if plain else str(len(inner))
    for key in () if plain else (inner if isinstance(inner, dict) else range(len(inner))):
        assert inner[key]._get_parent() is node
        yield from nodes(inner[key], f"{name}.{key}")


@pytest.mark.parametrize("name", JOBS)
def test_the_config_is_the_one_that_hydra_composes(
    name: str, loader: Counting, master: DictConfig, by_kind: ComposedByKind
) -> None:
    lines = [*JOBS[name][:1], *SHARED[1:3], *JOBS[name][1:]]
    whole = list(nodes(loader.load_sweep_config(master, lines)))
    if name not in BY_FILES:
        by_kind.load_sweep_config(master, lines).seed = 99  # it belongs to the job
    before = loader.count
    found = by_kind.load_sweep_config(master, lines)
    assert (list(nodes(found)), loader.count > before) == (whole, name in BY_FILES)


@pytest.mark.parametrize("own", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_as_hydra_tells_it(
    own: list[str], loader: Counting, master: DictConfig, by_kind: ComposedByKind
) -> None:
    told = []
    for one in (loader, by_kind):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            one.load_sweep_config(master, [*SHARED[:3], *own])
        told.append((type(caught.value), str(caught.value), repr(caught.value.__cause__)))
    assert told[0] == told[1]


def test_files_are_composed_once_for_each_kind(
    loader: Counting, master: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydra_plugins.picdesk_sweeper.MOST_KINDS", 2)
    fresh, before = ComposedByKind(loader), loader.count
    for index in ("flat", "hnsw"):
        for seed in range(5):
            assert fresh.load_sweep_config(master, [f"seed={seed}", f"index={index}"]).seed == seed
    assert loader.count - before == 2
    for index in ("ivf_flat", "hnsw", "flat"):  # the last two are kept: ivf_flat and hnsw
        fresh.load_sweep_config(master, ["seed=0", f"index={index}"])
    assert loader.count - before == 4
    other = loader.load_configuration("train", [], RunMode.MULTIRUN)
    assert fresh.load_sweep_config(other, ["seed=4"]).hydra.job.config_name == "train"


def test_another_version_of_hydra_composes_as_it_does(
    loader: Counting, master: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hydra.__version__", "1.4.0")
    fresh, before = ComposedByKind(loader), loader.count
    for seed in range(3):
        fresh.load_sweep_config(master, [f"seed={seed}"])
    assert loader.count - before == 3


def test_a_worker_is_sent_hydras_own_loader(loader: Counting) -> None:
    over: Any = Composed(ComposedAhead(loader, RunMode.MULTIRUN))  # type: ignore[arg-type]
    assert type(pickle.loads(pickle.dumps(over))) is Counting  # noqa: S301


def test_a_group_without_an_option_is_a_group(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    (tmp_path / "conf" / "part").mkdir()
    (tmp_path / "conf" / "part" / "notes.txt").touch()
    own = ConfigLoaderImpl(create_automatic_config_search_path(None, None, str(tmp_path / "conf")))
    master = own.load_configuration("evaluate", [], RunMode.MULTIRUN)
    for one in (own, ComposedByKind(own)):
        with pytest.raises(ConfigCompositionException, match="Could not override 'part'"):
            one.load_sweep_config(master, ["part=val", "seed=3"])


def test_what_a_variable_of_the_environment_says_is_what_it_says_now(
    loader: Counting, master: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_kind = ComposedByKind(loader)
    for value in ("1", "2"):
        monkeypatch.setenv("PICDESK_TRIED", value)
        found = by_kind.load_sweep_config(master, ["hydra.job.env_copy=[PICDESK_TRIED]", "seed=3"])
        assert found.hydra.job.env_set == {"PICDESK_TRIED": value}


def test_a_job_is_composed_where_it_is(
    loader: Counting, master: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_kind = ComposedByKind(loader)
    for place in (PROJECT, tmp_path):
        monkeypatch.chdir(place)
        assert by_kind.load_sweep_config(master, ["seed=3"]).hydra.runtime.cwd == str(place)
