"""Several batches go through a trunk at once, with the features, the order and the errors of one after the other."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from picdesk.backbones.lite import Lite
from picdesk.embedding import batches
from picdesk.embedding.batches import Inputs
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import Forward
from picdesk.embedding.passes import run_passes
from picdesk.embedding.store import Store
from picdesk.process import stops
from tests.embedding.fakes import Tiny

Features = NDArray[np.float32]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def parts(count: int) -> Iterator[tuple[list[int], Inputs]]:
    return (([i, i + 100], {"x": torch.full((2, 1), float(i))}) for i in range(count))


def plus_one(inputs: Inputs) -> Features:
    return np.asarray(inputs["x"].numpy() + 1, np.float32)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("batches", [0, 1, 2, 7])
def test_parts_come_in_order_with_their_own_features(two_threads: None, count: int, batches: int) -> None:
    found = list(run_passes(plus_one, parts(batches), count))
    assert [rows for rows, _ in found] == [[i, i + 100] for i in range(batches)]
    assert [float(features[1, 0]) for _, features in found] == [i + 1 for i in range(batches)]


def test_two_run_at_once_on_a_thread_each_and_all_have_theirs_again(two_threads: None) -> None:
    meet, seen = threading.Barrier(2, timeout=20), []

    def forward(inputs: Inputs) -> Features:
        meet.wait()
        seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return plus_one(inputs)

    assert len(list(run_passes(forward, parts(4), 2))) == 4
    assert seen == [(1, True)] * 4
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2], "threads that begin afterwards"


def test_no_more_wait_than_are_wanted(two_threads: None) -> None:
    """Batches are made as they are needed: pictures are large."""
    asked: list[int] = []

    def noted() -> Iterator[tuple[list[int], Inputs]]:
        for rows, inputs in parts(9):
            asked.append(rows[0])
            yield rows, inputs

    for done, (rows, _) in enumerate(run_passes(plus_one, noted(), 2)):
        assert rows[0] == done
        assert len(asked) <= done + 3


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_pass_comes_out_where_its_part_would(two_threads: None, count: int) -> None:
    def forward(inputs: Inputs) -> Features:
        if float(inputs["x"][0, 0]) == 2:
            raise ValueError("odd weights")
        return plus_one(inputs)

    found = run_passes(forward, parts(6), count)
    assert [next(found)[0][0] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="odd weights"):
        next(found)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("make", [Tiny, Lite])
def test_texts_have_the_bits_that_they_have_on_one_thread(two_threads: None, tmp_path: Path, make: type) -> None:
    texts, found = [f"{'a ' * n}harbour wall" for n in range(9)], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        encoder = Encoder(Store(tmp_path / str(threads)), batch_size=2, shard=4)
        found.append(encoder.texts(make().eval(), texts))
    assert np.array_equal(*found)


def test_what_was_done_before_a_signal_is_kept(
    two_threads: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, texts, real = Tiny(), [letter * 3 for letter in "abcdefghi"], batches.widen_tokens
    whole = Encoder(Store(tmp_path / "whole"), batch_size=2).texts(backbone, texts)
    seen: list[int] = []

    def stop(tokens: torch.Tensor) -> torch.Tensor:
        seen.append(len(tokens))
        if len(seen) == 5:
            raise stops.Stop(signal.SIGTERM)
        return real(tokens)

    monkeypatch.setattr(batches, "widen_tokens", stop)
    with pytest.raises(stops.Stop):
        Encoder(Store(tmp_path), batch_size=2).texts(backbone, texts)
    monkeypatch.setattr(batches, "widen_tokens", real)
    again = Encoder(Store(tmp_path), batch_size=2)
    assert np.array_equal(again.texts(backbone, texts), whole)
    assert 0 < again.counts.reused["text"] < len(texts)


class Table(torch.nn.Module):
    """A trunk that notes a table for the lengths it has seen, and reads it afterwards: two passes would mix theirs."""

    inside = 0

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        Table.inside += 1
        assert Table.inside == 1, "another pass is under way"
        time.sleep(0.01)
        Table.inside -= 1
        return counts[:, :7]


def test_models_of_others_have_one_pass_at_a_time(two_threads: None, tmp_path: Path) -> None:
    backbone = Tiny()
    backbone.text_trunk = Table()
    found = Encoder(Store(tmp_path), batch_size=2).texts(backbone, [f"{'a ' * n}wall" for n in range(12)])
    assert found.shape == (12, 7)


def test_each_item_comes_once_where_another_pass_runs_out_of_memory() -> None:
    """The second pass halves what goes through at once while the first is at work."""
    begun, halved = threading.Event(), threading.Event()

    class Trunk(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if float(x[0, 0]) == 0 and len(x) == 16:
                begun.set()
                assert halved.wait(20)
            elif len(x) == 16:
                assert begun.wait(20)
                raise RuntimeError("out of memory")
            else:
                halved.set()
            return x

    forward = Forward(Trunk(), "cpu", torch.float32, lambda pixels: pixels, 16)
    batches = [{"x": torch.arange(16.0)[:, None] + start} for start in (0, 100)]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(forward, batches)
    assert one[:, 0].tolist() == list(range(16))
    assert other[:, 0].tolist() == list(range(100, 116))
    assert forward.most == 8
