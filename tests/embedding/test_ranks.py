"""The encode loop under two gloo processes: the ranks share the work, and the store is the one that a single process makes."""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import multiprocessing

from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store, content_key
from picdesk.embedding.upkeep import verify
from tests.embedding.fakes import Pictures, Tiny
from tests.embedding.worker import blob, decode

COUNT = 26
TEXTS = [f"text {'ab' * (i % 7)} {i}" for i in range(21)]


def encode(store: Path) -> tuple[Encoder, np.ndarray, np.ndarray]:
    encoder = Encoder(Store(store), batch_size=4)
    backbone = Tiny()
    images = encoder.pictures(backbone, Pictures([blob(i) for i in range(COUNT)]), decode)
    return encoder, images, encoder.texts(backbone, TEXTS)


def rank_of_two(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    torch.distributed.barrier()
    encoder, images, texts = encode(folder / "store")
    np.savez(folder / f"rank{rank}.npz", images=images, texts=texts, encoded=list(encoder.counts.encoded.values()))
    torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def features(store: Path, modality: Any, width: int, contents: list[Any]) -> tuple[np.ndarray, int]:
    space = Store(store).space(modality, Tiny().trunk_fingerprint(modality), "fp32", width)
    return space.get([content_key(content) for content in contents]), sum(len(shard.keys) for shard in space._shards)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_two_ranks_make_the_same_store(tmp_path: Path) -> None:
    multiprocessing.start_processes(rank_of_two, (free_port(), tmp_path), nprocs=2, start_method="fork")
    _, images, texts = encode(tmp_path / "alone")
    encoded = np.zeros(2, int)
    for rank in range(2):
        with np.load(tmp_path / f"rank{rank}.npz", allow_pickle=False) as made:
            assert np.array_equal(made["images"], images)
            assert np.array_equal(made["texts"], texts)
            encoded += made["encoded"]
    assert encoded.tolist() == [COUNT, len(TEXTS)]
    for modality, width, contents, single in (
        ("image", 5, [blob(i) for i in range(COUNT)], images),
        ("text", 7, TEXTS, texts),
    ):
        held, rows = features(tmp_path / "store", modality, width, contents)
        assert rows == len(contents), "an item was encoded by both ranks"
        assert np.array_equal(held, single)
    assert [fault for folder in (tmp_path / "store").iterdir() for fault in verify(folder)] == []


def test_ranks_get_whole_batches_of_a_small_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encoder = Encoder(Store(tmp_path), batch_size=4, shard=1024)
    assert encoder._shard_size(26, 4) == 28
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert encoder._shard_size(26, 4) == 16
    assert encoder._shard_size(1_000_000, 4) == 1024
