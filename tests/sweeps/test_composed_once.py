"""Hydra checks a sweep by composing each job's config; the jobs are run by what was composed then."""

import gc
import pickle
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from hydra_plugins import picdesk_sweeper
from hydra_plugins.picdesk_sweeper import Composed
from picdesk.commands.composing import ComposedAhead
from picdesk.jobs.attempts import RUNNING
from picdesk.retrieval.system import System
from picdesk.sweeps.callbacks import BASIC, ONCE, Leaderboard
from tests.doors import run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]


class Loader:
    """Gives configs that say how many were composed."""

    def __init__(self) -> None:
        self.composed = 0

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.composed += 1
        return OmegaConf.create({"number": self.composed, "asked": sweep_overrides})

    def list_groups(self, parent_name: str) -> list[str]:
        return [parent_name]


def test_what_was_composed_is_given_once_more_and_then_composed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picdesk_sweeper, "MOST", 2)
    loader = Loader()
    composed = Composed(loader)  # type: ignore[arg-type]
    checked = [composed.load_sweep_config(OmegaConf.create(), [f"seed={i}"]).number for i in range(3)]
    ran = [composed.load_sweep_config(OmegaConf.create(), [f"seed={i}"]).number for i in range(3)]
    assert (checked, ran) == ([1, 2, 3], [1, 2, 4]), "no more are kept than the most"
    again = composed.load_sweep_config(OmegaConf.create(), ["seed=0"])
    assert (again.number, list(again.asked)) == (5, ["seed=0"]), "a job that ran may have changed its config"
    assert composed.list_groups("data") == ["data"]
    assert pickle.loads(pickle.dumps(composed)).load_sweep_config(OmegaConf.create(), ["seed=2"]).number == 6  # noqa: S301


@pytest.mark.parametrize(
    ("sweeper", "then"), [(BASIC, ONCE), ("hydra_plugins.other.Sweeper", "hydra_plugins.other.Sweeper")]
)
def test_only_hydras_own_sweeper_is_replaced(sweeper: str, then: str) -> None:
    config = OmegaConf.create(
        {
            "hydra": {
                "sweeper": {"_target_": sweeper},
                "sweep": {"dir": "nowhere", "subdir": "0"},
                "overrides": {"task": []},
            }
        }
    )
    OmegaConf.set_readonly(config, True)
    Leaderboard().on_multirun_start(config)
    RUNNING.clear()
    assert config.hydra.sweeper._target_ == then


def test_a_sweep_composes_each_job_once_and_lets_the_collector_rest(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    original = ConfigLoaderImpl.load_sweep_config

    def counted(self: ConfigLoaderImpl, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        asked.append(sweep_overrides)
        return original(self, master_config, sweep_overrides)

    jobs: list[list[str]] = []
    of_its_kind = ComposedAhead._of_its_kind

    def noticed(self: ComposedAhead, master: DictConfig, lines: list[str]) -> DictConfig | None:
        jobs.append([line for line in lines if line.startswith("top_k")])
        return of_its_kind(self, master, lines)

    monkeypatch.setattr(ComposedAhead, "_of_its_kind", noticed)
    frozen: list[int] = []
    score_both = System.score_both

    def noted(*args: object) -> object:
        frozen.append(gc.get_freeze_count())
        return score_both(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(System, "score_both", noted)
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    data = (
        "data=parquet",
        f"data.root={write_data(tmp_path / 'data', 12)}",
        "data.caption_column=caption",
        "split=all",
    )
    tiny = ("backbone._target_=tests.tiny.Tiny", "bootstrap.resamples=50", "top_k=7,8")
    ran = run(capfd, tmp_path / "out", "evaluate", "-m", *data, *tiny)
    assert ran.status == 0, ran.err
    assert [[own for own in job if own.startswith("top_k")] for job in asked] == [[]], "what both have in common"
    assert jobs == [["top_k=7"], ["top_k=8"]], "each once, to check it and to run it"
    assert len(list((tmp_path / "out").rglob("metrics.json"))) == 2
    assert frozen[0] < frozen[1], "what the first job has loaded is not looked through again"
    assert gc.get_freeze_count() > frozen[0], "nor while the leaderboard is made"
