"""A fit that was killed goes on where it stopped and ends as if nothing had happened, to the bit."""

import pickle
import resource
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from picdesk.errors import DataError, MissingFileError
from picdesk.training import state
from picdesk.training.adaptation import Heads, Lora
from picdesk.training.augmentation import CropFlip
from picdesk.training.averaging import Ema
from picdesk.training.collapse import Collapse
from picdesk.training.datamodule import FeatureData
from picdesk.training.fit import Fitted, fit
from picdesk.training.losses import Margin
from picdesk.training.module import Retrieval
from picdesk.training.schedules import constant, cosine
from picdesk.training.state import KeepState, WholeFiles, read
from tests.embedding.fakes import Tiny
from tests.mutations import mutations
from tests.training import models, pixels
from tests.training.test_fit import features

EPOCHS = 5
Whole = tuple[Fitted, nn.Module]
"""What a fit found that nobody killed, and its backbone."""


class KilledError(Exception):
    pass


class Killer(pl.Callback):
    """Raises before a given step, after the validation of a given epoch, at the validation that follows the last step, or at what
    follows a given step within the fit: a validation, the end of the epoch, or the next batch."""

    def __init__(
        self, step: int = -1, epoch: int = -1, end: bool = False, validated: int = -1, batch: int = -1
    ) -> None:
        self.step, self.epoch, self.end, self.validated, self.batch = step, epoch, end, validated, batch

    def on_validation_start(self, trainer: pl.Trainer, *_: Any) -> None:
        fitting = trainer.state.fn == "fit"
        if (self.end and not fitting and trainer.global_step) or (fitting and trainer.global_step == self.validated):
            raise KilledError

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.validated:
            raise KilledError

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, place: int) -> None:
        if trainer.current_epoch == 1 and place == self.batch:
            raise KilledError

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise KilledError

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == self.epoch:
            raise KilledError


def on_features(
    state: Path | None, killer: Killer | None = None, lr: float = 0.02, **limits: Any
) -> tuple[Fitted, nn.Module]:
    """Heads with dropout, a moving average, early stopping and a schedule; three batches an epoch."""
    backbone = Tiny()
    backbone.image_head = nn.Sequential(nn.Dropout(0.2), backbone.image_head)
    stopping = pl.callbacks.EarlyStopping("val/hits@1", mode="max", patience=2, check_on_train_epoch_end=False)
    callbacks = [Collapse(), Ema(0.9), stopping, *([killer] if killer else [])]
    data = FeatureData(features(0), features(1), batch_size=20, seed=0, sampler="pictures")
    optimizer = partial(torch.optim.AdamW, lr=lr)
    schedule = partial(cosine, warmup=0.2)
    make = partial(pixels.make_trainer, EPOCHS, **limits)
    trained = Heads().prepare(backbone)
    loss = Margin(reduction="sum_to_hardest")
    return fit(
        backbone, trained, loss, optimizer, schedule, data, make, callbacks, 0, state=state, state_seconds=0
    ), backbone


def on_pixels(state: Path | None, killer: Killer | None = None) -> tuple[Fitted, nn.Module]:
    """Low-rank sums on both trunks, with augmentation; three batches an epoch."""
    backbone = models.make("open_clip")
    folder = Path(str(models.folder() / "store"))
    data = pixels.data_of(backbone, Lora(rank=2), folder, augment=CropFlip())
    callbacks = [Ema(0.9), *([killer] if killer else [])]
    make = partial(pixels.make_trainer, 2)
    return pixels.run(
        backbone,
        Lora(rank=2),
        folder,
        data=data,
        callbacks=callbacks,
        trainer=make,
        state=state,
        state_seconds=0.0,
    ), backbone


KILLS = {
    "in the first epoch": Killer(step=2),
    "within a later epoch": Killer(step=8),
    "between epochs": Killer(epoch=2),
}


@pytest.fixture(scope="module")
def whole_on_features(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return on_features(tmp_path_factory.mktemp("features") / "whole.pt")


@pytest.fixture(scope="module")
def whole_on_pixels(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return on_pixels(tmp_path_factory.mktemp("pixels") / "whole.pt")


@pytest.mark.parametrize("when", KILLS)
def test_a_killed_fit_ends_as_the_uninterrupted_one(when: str, tmp_path: Path, whole_on_features: Whole) -> None:
    check_same_end(on_features, KILLS[when], tmp_path, whole_on_features)


@pytest.mark.parametrize("killer", [Killer(step=5), Killer(epoch=1)], ids=["within", "between"])
def test_so_does_one_through_the_trunks(killer: Killer, tmp_path: Path, whole_on_pixels: Whole) -> None:
    check_same_end(on_pixels, killer, tmp_path, whole_on_pixels)


@pytest.mark.parametrize("limits", [{"max_steps": 8}, {"check_val_every_n_epoch": 2}], ids=["steps", "epochs"])
def test_so_does_one_that_ends_on_steps_not_validated(limits: dict[str, int], tmp_path: Path) -> None:
    run = partial(on_features, **limits)
    whole = run(tmp_path / "whole.pt")
    for when, killer in {"within": Killer(step=7), "at the end": Killer(end=True)}.items():
        (tmp_path / when).mkdir()
        check_same_end(run, killer, tmp_path / when, whole)


FOLLOWED = {
    "the last step of an epoch with fewer steps": (Killer(validated=2), {"limit_train_batches": 2}),
    "the last step of all": (Killer(validated=5), {"max_steps": 5}),
    "a validation within an epoch": (Killer(validated=5), {"val_check_interval": 2}),
    "a step that adds to the gradients of the next": (Killer(batch=1), {"accumulate_grad_batches": 3}),
}


@pytest.mark.parametrize("after", FOLLOWED)
def test_what_follows_a_step_follows_it_when_the_fit_goes_on(after: str, tmp_path: Path) -> None:
    killer, limits = FOLLOWED[after]
    check_same_end(partial(on_features, **limits), killer, tmp_path)


def test_a_state_of_more_devices_than_there_are_can_be_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FeatureData(features(0), features(1), batch_size=20, seed=0)
    backbone = Tiny()
    module = Retrieval(backbone, Heads().prepare(backbone), Margin(), torch.optim.SGD, constant, data.val)
    kept = {"order": data.order.state(0), "losses": [0.5, 1], "stop": False, "random": torch.get_rng_state()}
    restored: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.append(device))
    content = {"picdesk": kept | {"device_random": [torch.get_rng_state()] * 3}}
    KeepState(tmp_path / "s.pt", data, 0).on_load_checkpoint(None, module, content)  # type: ignore[arg-type]
    assert restored == [0]


def test_each_process_goes_on_with_its_own_random_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FeatureData(features(0), features(1), batch_size=20, seed=0)
    backbone = Tiny()
    module = Retrieval(backbone, Heads().prepare(backbone), Margin(), torch.optim.SGD, constant, data.val)
    states = [torch.Generator().manual_seed(seed).get_state() for seed in (1, 2)]
    kept = {"order": data.order.state(0), "losses": [0.5, 1], "stop": False, "device_random": []}
    keeper = KeepState(tmp_path / "s.pt", data, 0)
    for rank, expected in enumerate(states):
        monkeypatch.setattr(state, "place", lambda rank=rank: (rank, 2))
        keeper.on_load_checkpoint(None, module, {"picdesk": kept | {"random": torch.stack(states)}})  # type: ignore[arg-type]
        assert torch.equal(torch.get_rng_state(), expected)
    keeper.on_load_checkpoint(None, module, {"picdesk": kept | {"random": states[0]}})  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), states[0]), "as states of earlier versions have it"


def test_what_was_noticed_before_the_kill_is_still_said(tmp_path: Path) -> None:
    (note,) = check_same_end(partial(on_features, lr=20.0), Killer(step=8), tmp_path)
    assert "step 1 changed the trained weights" in note


def check_same_end(run: Any, killer: Killer, folder: Path, uninterrupted: Whole | None = None) -> tuple[str, ...]:
    """The fit that was killed ends as the whole one, to the bit; what was noticed in it."""
    whole, expected = uninterrupted or run(folder / "whole.pt")
    with pytest.raises(KilledError):
        run(folder / "state.pt", killer)
    assert (folder / "state.pt").is_file()
    again, backbone = run(folder / "state.pt")
    assert again.history == whole.history
    assert again.path.scores == whole.path.scores
    assert again.notes == whole.notes
    own = expected.state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, own[name]), name
    return again.notes


def test_a_state_is_written_no_more_often_than_asked(tmp_path: Path) -> None:
    pixels.run(models.make("open_clip"), Lora(rank=2), tmp_path, epochs=1, state=tmp_path / "s.pt", state_seconds=1e6)
    assert not (tmp_path / "s.pt").exists()


def test_nothing_in_a_state_is_unpickled(tmp_path: Path) -> None:
    on_features(tmp_path / "state.pt")
    assert {"optimizer_states", "loops", "callbacks", "picdesk"} <= set(read(tmp_path / "state.pt"))

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"state": Harm()}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "bad.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"not a state", pickle.dumps([1])])
def test_a_broken_state_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"resume: .*s\.pt cannot be read"):
        read(tmp_path / "s.pt")
    with pytest.raises(MissingFileError, match="not stopped"):
        read(tmp_path / "none.pt")


@pytest.mark.parametrize("size", [50_000, 400_100], ids=["in the middle", "at the end"])
def test_a_state_that_the_system_cuts_off_is_told_by_the_systems_words(tmp_path: Path, size: int) -> None:
    """Torch's own writer says the same of a full disk, of a quota and of a limit on the size of files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            WholeFiles().save_checkpoint({"a": torch.arange(100_000.0)}, tmp_path / "state.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(tmp_path / "state.pt")
    assert not list(tmp_path.iterdir())


def test_no_damaged_state_is_taken_up(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    WholeFiles().save_checkpoint({"a": torch.arange(40.0), "loops": {"epoch": 3}}, state)
    whole, tried = state.read_bytes(), 0
    assert read(state)["loops"] == {"epoch": 3}
    for what, content in mutations(whole, 200):
        state.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            pytest.fail(f"{what} was not noticed: {read(state)}")
        tried += 1
    assert tried > 150
