"""A signal ends the encoding of pictures in mid-batch; what went through the trunk is written, and the next job is bit-equal."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from picdesk.embedding.upkeep import spaces, verify
from picdesk.process import stops
from tests.embedding.test_kills import space_of
from tests.embedding.worker import BATCH, encode


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_whole_batches_are_written_when_a_signal_comes(tmp_path: Path, signum: int, status: int) -> None:
    store, tally, count, shard = tmp_path / "store", tmp_path / "tally", 400, 200
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        torch.set_num_threads(1)
        try:
            with stops.watch_signals():
                encode(store, count, shard, 0.01, tally)
        except stops.Stop as stop:
            os._exit(stops.status(stop))
        os._exit(0)
    until = time.monotonic() + 20
    while time.monotonic() < until and not (tally.exists() and tally.stat().st_size >= 3 * BATCH):
        time.sleep(0.005)
    begun = time.monotonic()
    os.kill(child, signum)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    assert time.monotonic() - begun < 5
    held = len(space_of(store))
    assert 2 * BATCH <= held < shard, "less than a shard, and yet it is written"
    assert held % BATCH == 0
    assert [fault for folder in spaces(store) for fault in verify(folder)] == []
    (folder,) = store.glob("image-*")
    assert [*folder.glob("*.claim"), *folder.glob(".*")] == []
    encoder, features = encode(store, count, shard)
    assert encoder.counts.encoded["image"] == count - held
    assert np.array_equal(features, encode(tmp_path / "whole", count, shard)[1])
