"""A small honest world for bench/faults_hostile.py: data, jobs, a checkpoint, an index, a stopped job, and who watches them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import runpy
import shutil
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf
from PIL import Image

from picdesk.files import digest_of, file_digest
from picdesk.jobs.identity import settings_of

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "canary-5c1f-secret"
VARIABLES = ("A_CANARY_SECRET", "OPENAI_API_KEY", "MILVUS_TOKEN", "AWS_SECRET_ACCESS_KEY")
Plain = dict[str, Any]


@dataclass
class Ran:
    """What a door did."""

    status: int
    text: str
    traceback: bool


class Listener:
    """Counts whoever connects to a port of this machine, and keeps what they say."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(0.5)
                with contextlib.suppress(OSError):
                    owner.heard.append(self.request.recv(65536))

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@dataclass
class World:
    """Folders of the honest jobs, and of the user's own things that nobody may touch."""

    root: Path
    listener: Listener = field(default_factory=Listener)
    jobs: dict[str, Path] = field(default_factory=dict)

    @property
    def canary(self) -> Path:
        """The file that is there if code of an attack ran."""
        return self.root / "CODE-RAN"

    @property
    def home(self) -> Path:
        """The user's own files."""
        return self.root / "home"

    def door(self, name: str, *overrides: str) -> Ran:
        """Run a door in this process; jobs write below `out`."""
        argv, sys.argv = sys.argv, [f"{name}.py", *overrides, f"paths.outputs={self.root / 'out'}", "logger=none"]
        said, status, broken = io.StringIO(), 0, False
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                runpy.run_path(str(PROJECT / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            status = int(stop.code or 0)
        except BaseException as error:
            status, broken = 1, True
            said.write(f"{type(error).__name__}: {error}")
        finally:
            sys.argv = argv
            for handler in [h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]:
                logging.getLogger().removeHandler(handler)
                handler.close()
        text = said.getvalue()
        return Ran(status, text, broken or "Traceback (most recent call last)" in text)

    def secrets_out(self, text: str) -> int:
        """How often a secret of the environment was said, written or sent."""
        files = [path for path in (self.root / "out").rglob("*") if path.is_file() and path.stat().st_size < 1 << 24]
        written = sum(SECRET.encode() in path.read_bytes() for path in files)
        return written + (SECRET in text) + len(self.listener.heard)


@contextlib.contextmanager
def world(root: Path) -> Iterator[World]:
    """The honest world, with secrets in the environment while it stands."""
    before = {name: os.environ.get(name) for name in (*VARIABLES, "XDG_STATE_HOME")}
    os.environ.update(dict.fromkeys(VARIABLES, SECRET), XDG_STATE_HOME=str(root / "state"))
    made = World(root)
    try:
        make(made)
        yield made
    finally:
        made.listener.server.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def make(made: World) -> None:
    """Data, an evaluation, a training job with its checkpoint, a stopped training job, a saved index."""
    data = write_data(made.root / "data" / "news")
    made.home.mkdir()
    (made.home / "diary.csv").write_text(f"image,caption\nx.png,{SECRET}\n")
    npz = ("data=npz", f"data.root={data}", "data.file=e.npz", "data.folder=pics", "bootstrap.resamples=50")
    fit = ("backbone=lite", "trainer.max_epochs=1", "training.batch_size=16", "training.state_seconds=0")
    ours = (f"paths.data_root={made.root / 'data'}",)
    for name, door, asked in (
        ("evaluate", "evaluate", (*npz, "backbone=precomputed", "backbone.dim=16", "split=all")),
        ("train", "train", (*npz, *fit, "split.train=0.5", "split.val=0.25", "split.test=0.25")),
    ):
        with kept_state():
            ran = made.door(door, *asked, *ours)
        assert ran.status == 0, ran.text
        made.jobs[name] = newest(made.root / "out" / name)
    index = made.root / "index"
    built = made.door(
        "retrieve", "task=index_build", f"index_dir={index}", f"ckpt={made.jobs['train']}", "part=all", *ours
    )
    assert built.status == 0, built.text
    made.jobs["index"] = index


@contextlib.contextmanager
def kept_state() -> Iterator[None]:
    """A training job leaves the state that a killed one would leave."""
    from picdesk.jobs import resume as stopped

    forget, stopped.forget = stopped.forget, lambda job: None
    try:
        yield
    finally:
        stopped.forget = forget


def newest(folder: Path) -> Path:
    """The output dir written last."""
    return max(folder.rglob("manifest.json"), key=lambda path: path.stat().st_mtime_ns).parent


def write_data(folder: Path, count: int = 40) -> Path:
    """Vectors with captions and small pictures."""
    (folder / "pics").mkdir(parents=True)
    random = np.random.default_rng(0)
    images = random.normal(size=(count, 16)).astype("f4")
    texts = images + 0.6 * random.normal(size=(count, 16)).astype("f4")
    np.savez(folder / "e.npz", image_embeddings=images, text_embeddings=texts)
    rows = [f"p{i:03d}.png,a caption number {i}" for i in range(count)]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    for i in range(count):
        pixels = random.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pics" / f"p{i:03d}.png")
    return folder


def copy_job(made: World, name: str, to: str) -> Path:
    """A job as somebody would send it: a copy whose configs carry no mark of this user."""
    folder = made.root / "sent" / to
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.jobs[name], folder)
    for path in folder.rglob("config.yaml"):
        signed_by_nobody(path, path.read_text())
    if (folder / "manifest.json").is_file():
        sign(folder)
    return folder


def edit(path: Path, change: Callable[[Plain], object]) -> None:
    """Change a config as somebody would who wants harm."""
    plain = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(plain, dict)
    change(plain)  # type: ignore[arg-type]
    signed_by_nobody(path, OmegaConf.to_yaml(OmegaConf.create(plain), resolve=False))


def signed_by_nobody(path: Path, text: str) -> None:
    """Write a config with digests that fit, but without this user's mark."""
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("# "))
    weights = path.parent / "model.safetensors"
    text += f"# weights={file_digest(weights)}\n" if weights.is_file() else ""
    path.write_text(f"{text}# picdesk-config-1 sha256={hashlib.sha256(f'{text}-'.encode()).hexdigest()} by=-\n")


def sign(folder: Path, change: Callable[[Plain], object] = lambda manifest: None) -> None:
    """Make the manifest of a changed job fit its files again, as far as that can be done."""
    manifest = json.loads((folder / "manifest.json").read_text())
    with contextlib.suppress(Exception):
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse((folder / "config.yaml").read_text())):
            raise ValueError("a bomb, which is not for us to set off")
        manifest["settings"] = settings_of(
            OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=False)
        )  # type: ignore[arg-type]
    manifest["files"] = {name: file_digest(folder / name) for name in manifest["files"] if (folder / name).is_file()}
    change(manifest)
    manifest.pop("by", None)  # nobody else can write it
    manifest["digest"] = digest_of(manifest | {"digest": ""})
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))


def tree(folder: Path) -> str:
    """Digest over names and contents of all files below a folder."""
    parts = [
        f"{path}:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
