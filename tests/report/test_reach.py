"""A key for wandb without a way to its server: said in one line within seconds, and the job goes on offline."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picdesk.errors import ConfigError
from picdesk.report.reach import unreachable

wandb_media = pytest.importorskip("picdesk.report.wandb_media")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a port where nothing listens, as wandb's server, with a key in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    return address


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_what_can_be_reached(closed: str, listening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unreachable(listening) is None
    assert unreachable(closed) == "Connection refused"
    monkeypatch.setenv("http_proxy", listening)
    assert unreachable("http://example.invalid") is None, "through the proxy"


def test_a_look_up_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: time.sleep(3) or socket.socket())
    begun = time.monotonic()
    assert unreachable("http://127.0.0.1:1", seconds=-0.9) is not None
    assert time.monotonic() - begun < 1


def test_a_key_without_a_network_goes_on_offline(closed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        logger = wandb_media.JobWandbLogger(str(tmp_path / "a job"))
    assert logger._begin["mode"] == "offline"
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"WANDB_API_KEY is set but {closed} cannot be reached (Connection refused): going on offline" in said
    assert f"wandb sync '{tmp_path}/a job/wandb'/*run-*" in said


def test_online_that_was_asked_for_is_refused_at_the_start(closed: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"logger\.mode=online: http://127.* cannot be reached .*logger\.mode=offline"
    ):
        wandb_media.JobWandbLogger(str(tmp_path), mode="online")


def test_no_folder_decides_where_a_key_goes(
    closed: str, listening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_BASE_URL")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text(f"[default]\nentity = us\nbase_url = {listening}\n")
    for mode in ("auto", "online"):
        with pytest.raises(ConfigError, match=rf"base_url='{listening}', and no folder .* set WANDB_BASE_URL"):
            wandb_media.JobWandbLogger(str(tmp_path), mode=mode)
    assert wandb_media.JobWandbLogger(str(tmp_path), mode="offline")._begin["mode"] == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", listening)
    assert wandb_media.JobWandbLogger(str(tmp_path))._begin["mode"] == "online", "the environment says so too"
    (tmp_path / "wandb" / "settings").write_text("[default]\napi_key = 123\n")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(ConfigError, match="have api_key, and no folder"):
        wandb_media.JobWandbLogger(str(tmp_path), mode="online")


class Run:
    """A run that breaks."""

    def define_metric(self, *names: str, **options: Any) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        raise ConnectionResetError("Connection lost")

    def log(self, row: Any) -> None:
        raise RuntimeError("the service died")


def test_a_server_that_refuses_at_the_beginning(
    closed: str, listening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", listening)
    asked: list[str] = []

    def init(**settings: Any) -> Run:
        asked.append(settings["mode"])
        if settings["mode"] == "online":
            raise wandb_media.library().errors.CommError("timed out")
        return Run()

    monkeypatch.setattr(wandb_media.library(), "init", init)
    monkeypatch.setattr(wandb_media.library(), "run", None)
    logger = wandb_media.JobWandbLogger(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert isinstance(logger.experiment, Run)
    assert asked == ["online", "offline"]
    assert "timed out): going on offline" in caplog.text


def test_what_breaks_later_ends_no_job_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = wandb_media.JobWandbLogger(str(tmp_path), mode="offline")
    logger._run = Run()
    with caplog.at_level(logging.WARNING):
        logger.log_retrieval_table([])
        logger.finish()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "wandb failed" in said
    assert "the job goes on" in said
