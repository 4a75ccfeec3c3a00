"""A desk over a data set so small that it stands in a fraction of a second, and clients that ask it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

pytest.importorskip("fastapi", reason="pip install 'picdesk[serve]'")
from starlette.testclient import TestClient

from picdesk.assembly import schema
from picdesk.assembly.command_line import in_tasks
from picdesk.assembly.named import use_overrides
from picdesk.assembly.opening import Source
from picdesk.assembly.session import Session
from picdesk.serving.app import application
from picdesk.serving.desk import Desk
from picdesk.serving.served import Served
from picdesk.tasks.base import task_of
from picdesk.tasks.serve import Serve
from tests.tiny import write_data


def source_of(folder: Path, *overrides: str) -> tuple[Source, Serve]:
    """What `serve.py` would open with these overrides."""
    schema.register()
    named = ["plugins=[tests]", f"paths.outputs={folder / 'out'}", f"paths.store={folder / 'store'}", *overrides]
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        return compose_source(in_tasks([*named, "logger=none"], schema.top_keys(), schema.task_keys()))


def compose_source(named: Sequence[str]) -> tuple[Source, Serve]:
    """The source and the task of a config with these overrides."""
    with use_overrides(named):
        session = Session(compose("serve", overrides=list(named))).with_plugins()
        task = task_of(session, "serve")
        assert isinstance(task, Serve)
        return Source(session, task.index_dir), task


def tiny(folder: Path, pictures: int = 40) -> tuple[str, ...]:
    """Overrides for pictures of one colour with two captions each, and random towers."""
    data = folder / "data"
    if not data.is_dir():
        write_data(data, pictures)
    own = ("backbone._target_=tests.tiny.Tiny", "prompt=caption", "split=all")
    return ("data=parquet", f"data.root={data}", "data.caption_column=caption", *own)


@contextmanager
def desk_over(folder: Path, *overrides: str) -> Iterator[Desk]:
    """A desk that is closed at the end."""
    source, task = source_of(folder, *overrides)
    desk = Desk(source.settings, task, lambda: Served(source.open()))
    try:
        yield desk
    finally:
        desk.close()


@contextmanager
def client_of(desk: Desk, **given: object) -> Iterator[TestClient]:
    """A client of the whole application, guard included."""
    given.setdefault("names", ("testserver",))
    with TestClient(application(desk, **given), raise_server_exceptions=False) as client:  # type: ignore[arg-type]
        yield client


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    with desk_over(folder, *tiny(folder), "serve.rate=0", "serve.body_mb=1", "serve.texts=5", "run_depth=6") as made:
        yield made


@pytest.fixture(scope="session")
def client(desk: Desk) -> Iterator[TestClient]:
    with client_of(desk) as made:
        yield made
