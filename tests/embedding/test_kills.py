"""Jobs that are killed, and jobs that run side by side: nothing is corrupt, nothing is done twice, no bit differs."""

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from picdesk.embedding.store import Space, Store, content_key
from picdesk.embedding.upkeep import spaces, summary, verify
from picdesk.process import unfinished
from tests.embedding.fakes import Tiny
from tests.embedding.worker import blob, encode

SHARD = 8


def space_of(store: Path) -> Space:
    return Store(store).space("image", Tiny().trunk_fingerprint("image"), "fp32", 5, label="tiny")


def wait_for(store: Path, items: int) -> None:
    """Until the store holds that many, for 20 seconds at most."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (store.is_dir() and len(space_of(store)) >= items):
        time.sleep(0.01)


def fork_and_kill(store: Path, count: int, delay: float, after: float | None, tally: Path, shards: int = 1) -> float:
    """A job in a forked child, killed `after` seconds: no interpreter to start, so that many kills take little time.

    Without `after` it is killed once its first `shards` are there; how many seconds that took.
    """
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        torch.set_num_threads(1)
        encode(store, count, SHARD, delay, tally)
        os._exit(0)
    if after is not None:
        time.sleep(after)
    else:
        wait_for(store, shards * SHARD)
    took = time.monotonic() - begun
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return took


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_kills_leave_no_trace(tmp_path: Path, kills: int) -> None:
    count = 40 * kills
    whole = encode(tmp_path / "whole", count, SHARD)[1]
    store, tally, rng = tmp_path / "killed", tmp_path / "tally", random.Random(kills)
    held, landed, moves = 0, 0, 0
    span = fork_and_kill(tmp_path / "probe", count, 0.006, None, tmp_path / "another tally")
    for _ in range(kills):
        fork_and_kill(store, count, 0.006, rng.uniform(0.1, 1.9) * span, tally)
        assert not store.is_dir() or [fault for folder in spaces(store) for fault in verify(folder)] == []
        now = len(space_of(store))
        landed += held < count
        assert now >= held
        assert now % SHARD == 0
        moves += now > held
        held = now
    assert moves >= kills // 4, "too few jobs came as far as writing something"
    assert landed >= kills // 2, "too few kills came before the end to say anything"
    unfinished._SWEPT.clear()  # this process has looked at the folder before, and a process sweeps a folder once
    encoder, features = encode(store, count, SHARD, 0, tally)
    assert encoder.counts.encoded["image"] == count - held
    assert np.array_equal(features, whole)
    assert tally.stat().st_size <= count + SHARD * kills, "a kill cost more than one shard"
    space = space_of(store)
    assert sum(len(shard.keys) for shard in space._shards) == count, "an item was written twice"
    (folder,) = store.glob("image-*")
    assert [*folder.glob("*.claim"), *folder.glob(".*.safetensors")] == []
    again = tally.stat().st_size - count
    print(f"{kills} kills, {landed} before the end, {moves} after a shard; {again} of {count} items encoded again")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_killed_job_loses_one_shard_at_most(tmp_path: Path) -> None:
    store, tally = tmp_path / "store", tmp_path / "tally"
    fork_and_kill(store, 200, 0.01, None, tally, shards=2)
    held = len(space_of(store))
    assert 2 * SHARD <= held < 200
    assert held % SHARD == 0
    assert tally.stat().st_size <= held + SHARD
    claimed = space_of(store).claims
    with claimed.turn():
        assert claimed.others() == set(), "a dead job's claims hold"


def encode_counts(store: Path, count: int, delay: float) -> tuple[int, int]:
    """How many pictures a job encoded, and how many it took from the store."""
    counts = encode(store, count, SHARD, delay)[0].counts
    return counts.encoded["image"], counts.reused["image"]


@contextmanager
def killed_if_stuck(pool: ProcessPoolExecutor) -> Iterator[None]:
    """The pool's end waits for its workers: those that did not do their work in time are killed."""
    try:
        yield
    except TimeoutError:
        for worker in list(pool._processes.values()):
            worker.kill()
        raise


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_two_jobs_share_the_work(tmp_path: Path) -> None:
    count = 120
    with ProcessPoolExecutor(2, get_context("fork"), torch.set_num_threads, (1,)) as pool:
        jobs = [pool.submit(encode_counts, tmp_path / "both", count, 0.02) for _ in range(2)]
        with killed_if_stuck(pool):
            ends = [job.result(timeout=90) for job in jobs]
    assert sum(encoded for encoded, _ in ends) == count
    assert all(encoded + reused == count for encoded, reused in ends)
    space = space_of(tmp_path / "both")
    assert sum(len(shard.keys) for shard in space._shards) == count
    alone = encode(tmp_path / "alone", count, SHARD)[1]
    assert np.array_equal(space.get([content_key(blob(i)) for i in range(count)]), alone)
    (folder,) = (tmp_path / "both").glob("image-*")
    assert verify(folder) == []
    assert summary(folder).items == count


def test_a_second_job_waits_for_what_the_first_has_claimed(tmp_path: Path) -> None:
    first, second = space_of(tmp_path), space_of(tmp_path)
    keys = [content_key(str(i)) for i in range(6)]
    assert first.claim(keys, 4) == keys[:4]
    assert second.claim(keys, 4) == keys[4:]
    assert second.claim(keys[:4], 4) == []
    first.put(keys[:2], np.zeros((2, 5), np.float32))
    assert second.claim(keys[:4], 4) == []
    assert keys[0] in second
    first.claims.close()
    assert second.claim(keys[:4], 4) == keys[2:4]
    second.claims.close()


def test_what_killed_jobs_left_is_cleared_away(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    half = space.folder / f".{'a' * 32}.safetensors.x1.part.safetensors"
    old, young = space.folder / ".verified.json.x2.part.json", space.folder / ".verified.json.x3.part.json"
    for path in (half, old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert len(space_of(tmp_path)) == 0
    space.put([content_key("a")], np.zeros((1, 5), np.float32))
    assert [path.exists() for path in (half, old, young)] == [False, False, True]
    assert len(space_of(tmp_path)) == 1
