"""Searches (`-m hparams_search=NAME`): Optuna's study lies in the sweep's folder and goes on where it stopped.

Imports nothing heavy: Hydra loads the callback before `--help` is answered.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

log = logging.getLogger(__name__)
STOPPED = "stopped"


class Study(Callback):
    """Before a search: ask Optuna for the trials that are still missing, those that were cut off first.

    The same command finds the same folder. `hydra.sweeper.n_trials` counts all trials of the study, failed ones too.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Open or make the study, and set the number of trials and the sampler's seed for what is left."""
        sweeper, folder = config.hydra.sweeper, str(config.hydra.sweep.dir)
        Path(folder).mkdir(parents=True, exist_ok=True)
        done, drawn = take_up(str(sweeper.storage), str(sweeper.study_name), self.direction_of(sweeper))
        left = max(0, int(sweeper.n_trials) - done)
        if done:
            log.info("search: %d of %d trials are done: %s", done, int(sweeper.n_trials), folder)
        with read_write(config):
            OmegaConf.update(config, "hydra.sweeper.n_trials", left)
            quoted = folder.replace("\\", "\\\\").replace("'", "\\'")
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{quoted}'")  # a trial would make a name of its own
            if sweeper.sampler.get("seed") is not None:  # the same seed again would propose the same first trials again
                OmegaConf.update(config, "hydra.sweeper.sampler.seed", int(sweeper.sampler.seed) + drawn)

    @staticmethod
    def direction_of(sweeper: DictConfig) -> str:
        """`maximize` or `minimize`."""
        return str(getattr(sweeper.direction, "name", sweeper.direction))


def take_up(storage: str, name: str, direction: str) -> tuple[int, int]:
    """How many trials of the study have ended, and how many were ever begun; those that a kill cut off are queued again."""
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True)
    trials = study.get_trials(deepcopy=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for trial in (trial for trial in trials if trial.state == TrialState.RUNNING):
            study._storage.set_trial_user_attr(trial._trial_id, STOPPED, True)
            study._storage.set_trial_state(trial._trial_id, TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return sum(STOPPED not in trial.user_attrs for trial in ended), len(trials)
