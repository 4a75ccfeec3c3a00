"""Weights & Biases: the one file that imports wandb. Numbers, config, a table of pictures, and a clean end of each job.

Lightning has a logger for wandb, but importing Lightning takes longer than most jobs that train nothing. So what that does is
done here, and a trainer sees this logger through `jobs.trainer.logger_of`. Steps stand where Lightning has them, under
`trainer/global_step`. Importing wandb takes a third of a second as well: a job that logs nothing looks at this class alone.
"""

import importlib
import io
import json
import logging
import os
import secrets
import shlex
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any, Literal

from picdesk import network
from picdesk.errors import ConfigError, first_line
from picdesk.parts import config_part
from picdesk.process.imports import spare_import
from picdesk.process.rank import is_first_rank
from picdesk.rasters import open_raster
from picdesk.report.loggers import COLUMNS, RetrievedRow
from picdesk.report.reach import check_folder, unreachable

log = logging.getLogger(__name__)
SIDE = 256  # pixels of a picture in the table, at most; offline, these wait in STAGED until they are sent
STAGED = "wandb/artifacts/staging"
INIT_S, SEND_S = 20.0, 30.0
"""How long a run may take to begin online, and how long a job waits at its end until all is sent."""
STEP = "trainer/global_step"
LAUNCHER = (
    "wandb.sdk.launch.inputs.internal"  # takes seconds; a run only looks there for inputs that were staged before it
)
MODES = ("auto", "offline", "online", "disabled")
Mode = Literal["auto", "offline", "online", "disabled"]


@config_part
class JobWandbLogger:
    """Numbers, config and a picture table in a wandb run, with an end, so that each job of a sweep is a run of its own.

    Its files lie in `<save_dir>/wandb`. `mode=auto` is online where WANDB_API_KEY is set, the network may be used and wandb's
    server can be reached, else offline; it goes on offline where no run can be begun online. Whatever fails after the beginning
    is said once and ends no job: what was logged is in the run's folder. The run begins at the first thing logged. Nothing is
    reported to wandb's makers, in any mode: unless told not to, wandb asks their server about pictures logged even offline.
    Of several processes that train together only the first logs.
    Raises `ConfigError` for another mode, for `mode=online` where the network may not be used or the server cannot be reached,
    and where the current folder names a server: at the start of a job, not when it has something to log.
    """

    silent = False

    def __init__(
        self,
        save_dir: str,
        mode: Mode = "auto",
        project: str = "picdesk",
        group: str | None = None,
        name: str | None = None,
    ) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._may_fall_back, self._failed = mode == "auto", False
        mode = _mode(mode, save_dir)
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        self.save_dir = str(save_dir)
        self._run: Any = None
        own = {"dir": self.save_dir, "project": project, "group": group, "name": name, "mode": mode}
        self._begin: dict[str, Any] = {**own, "resume": "allow"}

    def prepare(self) -> None:
        """Begin wandb's own process, by a thread: a run asks every 0.2 s whether it is there."""
        if self._begin["mode"] != "disabled" and is_first_rank():
            threading.Thread(target=_begin_service, args=(library(),), name="wandb", daemon=True).start()

    @property
    def experiment(self) -> Any:
        """The wandb run, begun when first asked for. Raises `ConfigError` where wandb cannot begin one."""
        if self._run is None:
            try:
                self._run = _begin_run(self._begin)
            except (library().Error, OSError, TimeoutError) as error:
                why = first_line(error)
                if not (self._may_fall_back and self._begin["mode"] == "online"):
                    raise ConfigError(
                        f"logger.mode={self._begin['mode']}: wandb began no run: {why}. "
                        "Set WANDB_API_KEY, or take logger.mode=offline"
                    ) from None
                say_offline(self.save_dir, why)
                self._begin["mode"] = "offline"
                self._run = _begin_run(self._begin)
        return self._run

    def identity(self) -> str:
        """The run's id, drawn here if none was."""
        if not self._begin.get("id"):
            self.go_on(secrets.token_hex(4))
        return str(self._begin["id"])

    def go_on(self, identity: str) -> None:
        """Begin, when first asked for, as the run of this id."""
        self._begin["id"] = identity

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log numbers by name, at a step of training where there is one."""
        if is_first_rank():
            with self._not_ending_the_job():
                self.experiment.log(dict(metrics) | ({} if step is None else {STEP: step}))

    def log_hyperparams(self, params: Any) -> None:
        """Log the resolved config."""
        if is_first_rank():
            with self._not_ending_the_job():
                plain = json.loads(json.dumps(dict(params), default=str))
                self.experiment.config.update(plain, allow_val_change=True)

    def log_retrieval_table(self, rows: Sequence[RetrievedRow]) -> None:
        """Log `retrieved`: one line an item, its picture beside its rank."""
        if not is_first_rank():
            return
        staged = _staged_in(Path(self.save_dir) / "wandb")
        library()  # the whole of it, before anything stands for a part
        with self._not_ending_the_job(), staged, spare_import("pandas", DataFrame=type("NoTable", (), {})):
            data = [[*(getattr(row, name) for name in COLUMNS), _image(row)] for row in rows]
            self.experiment.log({"retrieved": library().Table(columns=[*COLUMNS, "picture"], data=data)})

    def finish(self, failed: bool = False) -> None:
        """Close the run if one was begun; what cannot be sent within seconds stays in its folder."""
        run, self._run = self._run, None
        if run is None:
            return
        with self._not_ending_the_job(), _quiet():
            begun = time.monotonic()
            run.finish(exit_code=int(failed))
            if self._begin["mode"] == "online" and time.monotonic() - begun >= SEND_S:
                log.warning(
                    "logger: not all could be sent to wandb; send it later: wandb sync %s", _folder(self.save_dir)
                )
            elif self._begin["mode"] == "online":  # pictures that were sent are not kept twice
                shutil.rmtree(Path(self.save_dir) / STAGED, ignore_errors=True)
        if self._begin["mode"] == "offline":
            look, send = shlex.quote(str(Path(self.save_dir) / "wandb")), _folder(self.save_dir)
            log.info("logger: wandb kept this run here; look at it: wandb leet %s; send it: wandb sync %s", look, send)

    @contextmanager
    def _not_ending_the_job(self) -> Iterator[None]:
        """Say once that wandb has failed in mid-job, instead of ending a job for its log."""
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:  # wandb's process may die, and its client raises whatever comes of that
            if not self._failed:
                log.warning(
                    "logger: wandb failed (%s); the job goes on; what was logged: wandb sync %s",
                    first_line(error),
                    _folder(self.save_dir),
                )
            self._failed = True


def library() -> Any:
    """The package wandb."""
    return importlib.import_module("wandb")


def _begin_service(wandb: Any) -> None:
    with suppress(Exception):  # is said where the run begins
        wandb.setup()


def _begin_run(options: dict[str, Any]) -> Any:
    """A wandb run, whose curves are drawn over the steps of training."""
    library()  # the whole of it, before anything stands for a part
    with spare_import(LAUNCHER, StagedLaunchInputs=_NoInputs):
        run = library().init(**options, settings=_settings(options["mode"]))
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    return run


class _NoInputs:
    """What stands for the launcher's inputs: there are none."""

    def apply(self, run: Any) -> None: ...


def _mode(mode: Mode, save_dir: str) -> Mode:
    """The mode that is meant. Raises `ConfigError` for none, or for `online` where wandb's server is out of reach."""
    if mode not in MODES:
        raise ConfigError(f"logger.mode={mode}: must be one of {', '.join(MODES)}")
    wanted = mode
    if mode == "online":
        network.need("logger.mode=online")
    if mode == "auto":
        may = os.environ.get("WANDB_API_KEY") and not network.is_closed() and not _told_otherwise()
        mode = "online" if may else "offline"
    if mode == "online" and not _told_otherwise():
        check_folder(Path.cwd(), library().Settings().read_system_settings().all())
        network.check_secret(server(), "WANDB_BASE_URL", "WANDB_API_KEY")
        why = unreachable(server())
        if why and wanted == "online":
            raise ConfigError(f"logger.mode=online: {server()} cannot be reached ({why}); take logger.mode=offline")
        if why:
            say_offline(save_dir, why)
            mode = "offline"
    return mode


def _told_otherwise() -> bool:
    """Whether the environment says offline itself: wandb heeds that whatever it is asked for."""
    return os.environ.get("WANDB_MODE", "").lower() in ("offline", "disabled", "dryrun")


def server() -> str:
    """The address of wandb's server: of the environment or of wandb's own settings, else the makers'."""
    return str(os.environ.get("WANDB_BASE_URL") or library().setup().settings.base_url)


def say_offline(save_dir: str, why: str) -> None:
    """Say that a job whose environment has a key logs offline, and how its log gets to the server later."""
    log.warning(
        "logger: WANDB_API_KEY is set but %s cannot be reached (%s): going on offline; send it later: wandb sync %s",
        *(server(), why, _folder(save_dir)),
    )


def _folder(save_dir: Any) -> str:
    return f"{shlex.quote(str(Path(str(save_dir)) / 'wandb'))}/*run-*"


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what wandb's client prints of its own failures: they are said in one line here."""
    shown, errors = logging.getLogger("wandb"), io.StringIO()
    before, shown.disabled = shown.disabled, True
    try:
        with redirect_stderr(errors):
            yield
    finally:
        shown.disabled = before


def _settings(mode: Mode) -> Any:
    """Quiet, no capture of the console, nothing sent about the machine; offline, nothing that asks the network at all."""
    quiet: dict[str, Any] = {"silent": True, "console": "off", "x_save_requirements": False, "disable_code": True}
    if mode == "online":
        quiet |= {"init_timeout": INIT_S, "finish_timeout": SEND_S}
    else:
        quiet |= {"x_disable_stats": True, "x_disable_machine_info": True, "disable_git": True}
    return library().Settings(**quiet)


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
    with open_raster(row.picture) as opened:
        opened.draft("RGB", (2 * SIDE, 2 * SIDE))
        picture = opened.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    return library().Image(picture, caption=f"{row.rank}: {row.item_id}", file_type="jpg")
