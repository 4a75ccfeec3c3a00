"""A search over hyperparameters: a failed trial does not end it, and one that was stopped goes on."""

import csv
from pathlib import Path
from typing import Any

import pytest

from picdesk.assembly.checkpoints import weights_of
from picdesk.sweeps.study import take_up
from picdesk.tasks import train
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.filterwarnings("ignore")  # Optuna 2 and SQLAlchemy 1 speak of their own successors


@pytest.fixture(autouse=True)
def need_optuna() -> None:
    """Imported by the process that runs these tests, not by each that collects them."""
    pytest.importorskip("optuna", reason="the extra `sweep` is not installed")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = write_data(tmp_path_factory.mktemp("tiny"))
    fit = ("trainer.max_epochs=1", "training.batch_size=16", "prompt=caption", "bootstrap.resamples=20")
    data = ("data=parquet", f"data.root={folder}", "data.caption_column=caption")
    return (*data, *fit, "backbone._target_=tests.tiny.Tiny")


def search(capfd: Capture, outputs: Path, trials: int, *overrides: str) -> Ran:
    given = ("-m", "hparams_search=heads_margin", f"hydra.sweeper.n_trials={trials}", *overrides)
    return run(capfd, outputs, "train", *given)


def folder_of(outputs: Path) -> Path:
    (folder,) = (outputs / "search").iterdir()
    assert folder.name.startswith("heads_margin-")
    return folder


def trials_of(outputs: Path) -> list[Any]:
    import optuna

    study = optuna.load_study(study_name="picdesk", storage=f"sqlite:///{folder_of(outputs)}/study.db")
    found: list[Any] = study.get_trials(deepcopy=False)
    return found


def interrupt_training(monkeypatch: pytest.MonkeyPatch, at: int, error: type[BaseException]) -> list[int]:
    """`train` raises at the fit of this number; the list grows with each fit."""
    fits: list[int] = []
    original = train.run_fit

    def counted(*given: Any) -> Any:
        fits.append(1)
        if len(fits) == at:
            raise error("cut off")
        return original(*given)

    monkeypatch.setattr(train, "run_fit", counted)
    return fits


def test_a_search_that_is_stopped_goes_on(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = interrupt_training(monkeypatch, 2, KeyboardInterrupt)
    first = search(capfd, tmp_path, 3, *tiny)
    assert first.status == 130, first.err
    done, cut_off = trials_of(tmp_path)
    assert (done.state.name, cut_off.state.name) == ("COMPLETE", "RUNNING")
    again = search(capfd, tmp_path, 3, *tiny)
    assert again.status == 0, again.err
    assert "search: 1 of 3 trials are done" in again.out
    assert len(fits) == 2 + 2, "the one that was cut off, and the one that was missing"
    trials = trials_of(tmp_path)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len(done) == 3
    assert done[1].params == cut_off.params
    assert len({str(trial.params) for trial in done}) == 3, "nothing is proposed a second time"
    best = max(done, key=lambda trial: trial.value)
    with (folder_of(tmp_path) / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    assert float(rows[0]["objective"]) == pytest.approx(best.value, abs=1e-9), "the objective is the validation score"
    assert weights_of("best", tmp_path).parents[2] == folder_of(tmp_path), "a search is a sweep"
    assert weights_of("best", tmp_path) == weights_of(str(folder_of(tmp_path)), tmp_path)
    pasted = (folder_of(tmp_path) / "best.yaml").read_text()
    assert "override /loss: margin" in pasted
    assert "hparams_search" not in pasted
    assert pasted.rstrip() in again.out, "the best config stands on the terminal, ready to paste"
    more = search(capfd, tmp_path, 4, *tiny)
    assert more.status == 0, more.err
    assert len(fits) == 5, "an extended search runs one more"
    nothing = search(capfd, tmp_path, 4, *tiny)
    assert nothing.status == 0, nothing.err
    assert len(fits) == 5


def test_a_failed_trial_does_not_end_the_search(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = interrupt_training(monkeypatch, 1, RuntimeError)
    ran = search(capfd, tmp_path, 2, *tiny)
    assert ran.status == 1
    assert "1 of the sweep's jobs failed" in ran.err
    assert len(fits) == 2
    assert [trial.state.name for trial in trials_of(tmp_path)] == ["FAIL", "COMPLETE"]
    assert search(capfd, tmp_path, 2, *tiny).status == 1, "still named, and not tried again"
    assert len(fits) == 2


def test_a_search_of_failures_says_so(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    ran = search(capfd, tmp_path, 2, *tiny, "backbone.dim=-1")
    assert ran.status == 1
    assert "every trial failed" in ran.err
    assert "Traceback" not in ran.err


def test_a_trial_that_never_got_its_values_is_not_queued(tmp_path: Path) -> None:
    import optuna

    storage = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="picdesk", storage=storage, direction="maximize")
    study.ask()
    assert take_up(storage, "picdesk", "maximize") == (0, 1)
    again = optuna.load_study(study_name="picdesk", storage=storage)
    assert [trial.state.name for trial in again.get_trials()] == ["FAIL"]


def test_a_search_over_other_values_is_told_of_the_one_that_lies_there(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    """Optuna's traceback was all that was said."""
    asked = (*tiny, f"hydra.sweep.dir={tmp_path / 'search' / 'heads_margin-mine'}")
    assert search(capfd, tmp_path, 1, *asked).status == 0
    other = search(capfd, tmp_path, 2, *asked, "loss.reduction=choice(sum,semi_hard)")
    assert (other.status, "was begun over other values" in other.err) == (2, True), other.err
