"""Each item is encoded once ever, features belong to their items, and a damaged store is refused."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from picdesk.data.images import open_picture
from picdesk.embedding import batches, encoder
from picdesk.embedding.batches import ahead, takes_turns
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import Forward
from picdesk.embedding.store import Store, content_key
from picdesk.errors import ConfigError, DataError
from tests.embedding.fakes import Pictures, Tiny, items_seen
from tests.embedding.worker import blob, decode


def test_pictures_get_their_own_features_whatever_the_batch(tmp_path: Path) -> None:
    blobs = [blob(i) for i in range(11)]
    one = Encoder(Store(tmp_path / "a"), batch_size=1).pictures(Tiny(), Pictures(blobs), decode)
    many = Encoder(Store(tmp_path / "b"), batch_size=4, shard=5).pictures(Tiny(), Pictures(blobs[::-1]), decode)
    np.testing.assert_allclose(one, many[::-1], atol=1e-6)
    direct = Tiny()
    pixels = torch.from_numpy(direct.picture_to_pixels(decode(blobs[7])).copy())[None]
    np.testing.assert_allclose(one[7], direct.image_trunk(direct.normalise_pixels(pixels)).detach()[0], atol=1e-6)


def test_second_time_costs_nothing_and_new_ones_cost_themselves(tmp_path: Path) -> None:
    blobs = [blob(i) for i in range(6)]
    first = Encoder(Store(tmp_path)).pictures(Tiny(), Pictures([*blobs, blobs[0]]), decode)
    again = Tiny()
    encoder = Encoder(Store(tmp_path))
    assert (encoder.pictures(again, Pictures([*blobs, blobs[0]]), decode) == first).all()
    assert items_seen(again.image_trunk) == 0
    encoder.pictures(again, Pictures([blob(77), *blobs]), decode)
    assert items_seen(again.image_trunk) == 1
    assert encoder.counts.encoded["image"] == 1
    assert encoder.counts.reused["image"] == 12


def test_texts_are_encoded_once_each_and_stay_in_order(tmp_path: Path) -> None:
    texts = ["a long line of letters", "bb", "a", "bb", "ccc"]
    backbone = Tiny()
    features = Encoder(Store(tmp_path), batch_size=2).texts(backbone, texts)
    assert items_seen(backbone.text_trunk) == 4
    assert (features[1] == features[3]).all()
    expected = backbone.text_trunk(**backbone.tokenize(texts)).detach().numpy()
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_threads_take_turns(tmp_path: Path) -> None:
    """Encoders of one store share its claims: each was closed by a thread that was through with its own texts."""
    store, backbone = Store(tmp_path), Tiny()
    encoders = [Encoder(store), Encoder(store)]
    whole = Encoder(Store(tmp_path / "other")).texts(Tiny(), [f"text {i} of {j}" for i in range(4) for j in range(10)])

    def ask(i: int) -> list[Any]:
        return [encoders[i % 2].texts(backbone, [f"text {i} of {j}"])[0] for j in range(10)]

    with ThreadPoolExecutor(4) as pool:
        found = [row for rows in pool.map(ask, range(4)) for row in rows]
    np.testing.assert_allclose(np.stack(found), whole, atol=1e-6)


def test_texts_in_several_windows_are_those_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text number {i}" for i in range(7)]
    whole = Encoder(Store(tmp_path / "a")).texts(Tiny(), texts)
    monkeypatch.setattr("picdesk.embedding.encoder.WINDOW", 3)
    assert np.array_equal(Encoder(Store(tmp_path / "a")).texts(Tiny(), texts), whole)
    np.testing.assert_allclose(Encoder(Store(tmp_path / "b")).texts(Tiny(), texts), whole, atol=1e-6)


@pytest.mark.parametrize("other", [Tiny(seed=1), Tiny(size=5)], ids=["weights", "resolution"])
def test_other_weights_or_pixels_are_another_space(tmp_path: Path, other: Tiny) -> None:
    Encoder(Store(tmp_path)).pictures(Tiny(), Pictures([blob(0)]), decode)
    Encoder(Store(tmp_path)).pictures(other, Pictures([blob(0)]), decode)
    assert items_seen(other.image_trunk) == 1


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    Encoder(Store(tmp_path)).texts(Tiny(), ["a", "b"])
    (shard,) = tmp_path.rglob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(DataError, match="is damaged"):
        Encoder(Store(tmp_path)).texts(Tiny(), ["a", "b"])


@pytest.mark.parametrize(("ids", "name"), [(("p0", "p1"), "'p1'"), ((), "1")])
def test_a_picture_that_is_cut_short_is_named_with_what_helps(tmp_path: Path, ids: tuple[str, ...], name: str) -> None:
    pictures = Pictures([blob(0), blob(1)[:100]])
    with pytest.raises(DataError, match=rf"^picture {name}: cannot be decoded .*; check=full leaves such pictures out"):
        Encoder(Store(tmp_path)).pictures(Tiny(), pictures, open_picture, ids)


def test_features_that_are_not_finite_never_get_in(tmp_path: Path) -> None:
    space = Store(tmp_path).space("text", "f", "fp32", 2, label="clip")
    with pytest.raises(DataError, match=r"^features of clip: 1 of 2 are not finite; the weights are damaged"):
        space.put([content_key("a"), content_key("b")], np.array([[np.nan, 1.0], [0, 1]], np.float32))
    with pytest.raises(DataError, match=r"^store: features of shape"):
        space.put([content_key("a")], np.zeros((1, 3), np.float32))
    half = Store(tmp_path).space("text", "f", "fp32", 2, storage="float16", label="clip")
    with pytest.raises(
        DataError, match=r"^encode.storage=float16: features of clip are too large for it; take float32"
    ):
        half.put([content_key("a")], np.array([[1e6, 1.0]], np.float32))
    assert list(tmp_path.rglob("*.safetensors")) == []


@pytest.mark.parametrize("settings", [{"precision": "fp8"}, {"batch_size": 0}])
def test_wrong_settings_are_named(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"encode\.{next(iter(settings))}="):
        Encoder(Store(tmp_path), **settings)  # type: ignore[arg-type]


def test_no_pixels_are_no_bound(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encode\.max_pixels=0: at least 1 is needed"):
        Encoder(Store(tmp_path), max_pixels=0)


def test_texts_go_together_in_larger_batches_in_bf16(tmp_path: Path) -> None:
    sizes: dict[str, list[int]] = {}
    for precision in ("fp32", "bf16"):
        backbone = Tiny()
        seen = sizes.setdefault(precision, [])
        encoder = Encoder(Store(tmp_path / precision), batch_size=3, precision=precision)
        run = Forward._run

        def counted(
            self: Forward, inputs: dict[str, torch.Tensor], seen: list[int] = seen, run: Any = run
        ) -> np.ndarray:
            seen.append(len(next(iter(inputs.values()))))
            return run(self, inputs)  # type: ignore[no-any-return]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Forward, "_run", counted)
            encoder.texts(backbone, [f"text {i}" for i in range(26)])
    assert sizes == {"fp32": [3] * 8 + [2], "bf16": [12, 12, 2]}


@pytest.mark.parametrize("turns", [True, False])
def test_decoding_waits_for_its_turn_where_every_core_computes(turns: bool) -> None:
    done: list[str] = []
    parts = [[0, 1], [2], [3], [4]]

    def read(i: int) -> bytes:
        done.append(f"read {i}")
        return bytes([i])

    def decode_one(i: int, data: bytes) -> np.ndarray:
        done.append(f"decoded {i}")
        return np.frombuffer(data, np.uint8)

    with ThreadPoolExecutor(1) as pool:
        found = ahead(pool, read, decode_one, iter(parts), turns)
        first, pixels = next(found)
        pool.submit(int).result()
        assert ("decoded 3" in done) != turns, "ahead of who asks, or not"
        assert "read 3" in done, "reading is ahead either way"
        assert "read 4" not in done
        assert [
            (first, [array.tolist() for array in pixels]),
            *((part, [a.tolist() for a in more]) for part, more in found),
        ] == [(part, [[i] for i in part]) for part in parts]


@pytest.mark.parametrize("turns", [True, False])
def test_a_broken_picture_is_named_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: bool) -> None:
    monkeypatch.setattr(encoder, "takes_turns", lambda *_: turns)
    pictures = Pictures([*(blob(i) for i in range(7)), blob(7)[:60]])
    with pytest.raises(DataError, match="picture 'p7'"):
        Encoder(Store(tmp_path), batch_size=3).pictures(Tiny(), pictures, open_picture, [f"p{i}" for i in range(8)])


def test_decoding_takes_turns_only_where_no_core_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches.os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    for device, engine, threads, workers, expected in (
        ("cpu", "torch", 2, 2, True), ("cpu", "torch", 4, 3, True), ("cpu", "torch", 1, 2, False),
        ("cpu", "torch", 2, 1, False), ("cuda", "torch", 2, 2, False), ("cpu", "openvino", 2, 2, False),
    ):  # fmt: skip
        monkeypatch.setattr(batches.torch, "get_num_threads", lambda threads=threads: threads)
        assert takes_turns(device, engine, workers) == expected, (device, engine, threads, workers)
