"""Weights & Biases: the one file that imports wandb. Lightning's logger, a table of pictures, and a clean end of each job."""

import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import PIL.Image
import wandb
from pytorch_lightning.loggers import WandbLogger

from picdesk import network
from picdesk.errors import ConfigError
from picdesk.parts import config_part
from picdesk.report.loggers import COLUMNS, RetrievedRow

MODES = ("auto", "offline", "online", "disabled")
Mode = Literal["auto", "offline", "online", "disabled"]


@config_part
class JobWandbLogger(WandbLogger):
    """Lightning's logger with a picture table, and an end, so that each job of a sweep is a wandb run of its own.

    Its files lie in `<save_dir>/wandb`. `mode=auto` is online where WANDB_API_KEY is set and the network may be used, else
    offline. The run begins at the first thing logged. Nothing is reported to wandb's makers, in any mode: unless told not to,
    wandb asks their server about pictures logged even offline. Raises `ConfigError` for another mode.
    """

    def __init__(
        self,
        save_dir: str,
        mode: Mode = "auto",
        project: str = "picdesk",
        group: str | None = None,
        name: str | None = None,
    ) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        mode = _mode(mode)
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        settings = _settings(mode)
        super().__init__(save_dir=save_dir, project=project, group=group, name=name, mode=mode, settings=settings)
        self._wandb_init.pop("anonymous", None)  # passed by Lightning, refused with a warning by wandb from 0.24

    @property
    def experiment(self) -> Any:
        """The wandb run, begun when first asked for. Raises `ConfigError` where wandb cannot begin one."""
        try:
            return super().experiment
        except wandb.Error as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"logger.mode={self._wandb_init['mode']}: wandb began no run: {why} "
                "Set WANDB_API_KEY, or take logger.mode=offline"
            ) from None

    def identity(self) -> str:
        """The run's id, drawn here if none was."""
        if not self._wandb_init.get("id"):
            self.go_on(secrets.token_hex(4))
        return str(self._wandb_init["id"])

    def go_on(self, identity: str) -> None:
        """Begin, when first asked for, as the run of this id."""
        self._wandb_init["id"] = self._id = identity

    def log_retrieval_table(self, rows: Sequence[RetrievedRow]) -> None:
        """Log `retrieved`: one line an item, its picture beside its rank."""
        run = self.experiment
        with _staged_in(Path(str(self.save_dir)) / "wandb"):
            data = [[*(getattr(row, name) for name in COLUMNS), _image(row)] for row in rows]
            run.log({"retrieved": wandb.Table(columns=[*COLUMNS, "picture"], data=data)})

    def finish(self, failed: bool = False) -> None:
        """Close the run if one was begun."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))
            self._experiment = None


def _mode(mode: Mode) -> Mode:
    """The mode that is meant. Raises `ConfigError` for none, or for `online` in a job that may not use the network."""
    if mode not in MODES:
        raise ConfigError(f"logger.mode={mode}: must be one of {', '.join(MODES)}")
    if mode == "online":
        network.need("logger.mode=online")
    if mode == "auto":
        return "online" if os.environ.get("WANDB_API_KEY") and not network.is_closed() else "offline"
    return mode


def _settings(mode: Mode) -> wandb.Settings:
    """Quiet, no capture of the console, nothing sent about the machine; offline, nothing that asks the network at all."""
    quiet: dict[str, Any] = {"silent": True, "console": "off", "x_save_requirements": False, "disable_code": True}
    if mode != "online":
        quiet |= {"x_disable_stats": True, "x_disable_machine_info": True, "disable_git": True}
    return wandb.Settings(**quiet)


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Have wandb keep pictures of a table under `folder` until they are uploaded, not in the home folder.

    There is no setting for it but this environment variable, read anew at each use.
    """
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str(folder.absolute())
    try:
        yield
    finally:
        os.environ.pop("WANDB_DATA_DIR") if before is None else os.environ.update(WANDB_DATA_DIR=before)


def _image(row: RetrievedRow) -> Any:
    if row.picture is None:
        return None
    with PIL.Image.open(io.BytesIO(row.picture)) as picture:
        return wandb.Image(picture.convert("RGB"), caption=f"{row.rank}: {row.item_id}")
