"""Ranks are those of exact scores, whatever the shape of a tile, and equal vectors tie in all of them."""

import numpy as np
import pytest
import torch

from picdesk.evaluation.device_tiles import DeviceTiles
from picdesk.evaluation.exact import _Tally
from picdesk.evaluation.metrics import Ranks, exact_ranks, exact_ranks_both, ranks_of_run
from picdesk.interfaces import Embeddings
from picdesk.products import error_bound, exact_block, exact_scores
from picdesk.search.indexes import FlatIndex
from picdesk.trec.runs import Qrels


def unit(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.float32)


def both_ways(texts: np.ndarray, pictures: np.ndarray, picture_of: np.ndarray, side: int = 640) -> dict[str, Ranks]:
    """Ranks by every way to them."""
    text = Embeddings(tuple(f"t{i:05}" for i in range(len(texts))), texts)
    picture = Embeddings(tuple(f"p{i:05}" for i in range(len(pictures))), pictures)
    t2i = Qrels.from_pairs(text.ids, picture.ids, np.arange(len(texts)), picture_of)
    asked, place = np.unique(picture_of, return_inverse=True)
    asking = Embeddings(tuple(picture.ids[i] for i in asked), pictures[asked])
    i2t = Qrels.from_pairs(asking.ids, text.ids, place, np.arange(len(texts)))
    found = dict(zip(("t2i", "i2t"), exact_ranks_both(text, picture, t2i, i2t, side=side), strict=True))
    found["t2i alone"] = exact_ranks(text, picture, t2i, block=max(1, side // 3))
    found["i2t alone"] = exact_ranks(picture, text, i2t, block=max(1, side // 7), direction="i2t")
    on_device = exact_ranks_both(text, picture, t2i, i2t, side=side, device="cpu")
    found["t2i on a device"], found["i2t on a device"] = on_device
    found["t2i alone on a device"] = exact_ranks(text, picture, t2i, block=max(1, side // 3), device="cpu")
    found["i2t alone on a device"] = exact_ranks(
        picture, text, i2t, block=max(1, side // 7), direction="i2t", device="cpu"
    )
    for name, queries, items, qrels in (("t2i", text, picture, t2i), ("i2t", asking, text, i2t)):
        index = FlatIndex()
        index.build(items)
        found[f"{name} by index"] = ranks_of_run(index.search(queries, len(items.ids)), qrels)
    return found


def expected_ranks(texts: np.ndarray, pictures: np.ndarray, picture_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranks of both directions by the definition, with nothing but exact scores."""
    rows, columns = np.divmod(np.arange(len(texts) * len(pictures)), len(pictures))
    scores = exact_scores(texts, pictures, rows, columns).reshape(len(texts), len(pictures))
    own = scores[np.arange(len(texts)), picture_of]
    by_text = (scores >= own[:, None]).sum(axis=1)
    ranks = []
    for picture in range(len(pictures)):
        mine = np.flatnonzero(picture_of == picture)
        others = np.setdiff1d(np.arange(len(texts)), mine)
        order = mine[np.lexsort((mine, -own[mine]))]
        before = {int(text): place for place, text in enumerate(order)}
        ranks += [1 + int((scores[others, picture] >= own[text]).sum()) + before[int(text)] for text in mine]
    return by_text, np.array(ranks)


@pytest.mark.parametrize("dim", [7, 100, 384])
@pytest.mark.parametrize(("pictures", "captions", "side"), [(65, 1, 64), (71, 5, 35), (130, 3, 64), (9, 2, 640)])
@pytest.mark.parametrize("constant", [False, True])
def test_a_collapsed_model_stands_last_in_tiles_of_every_shape(
    dim: int, pictures: int, captions: int, side: int, constant: bool
) -> None:
    """Also with equal coordinates, whose sum in float32 drifts the furthest."""
    one = unit(np.full((1, dim), 0.1) if constant else np.random.default_rng(dim).standard_normal((1, dim)))
    texts = np.repeat(one, pictures * captions, axis=0)
    found = both_ways(texts, np.repeat(one, pictures, axis=0), np.repeat(np.arange(pictures), captions), side)
    for name, ranks in found.items():
        worst = pictures if name.startswith("t2i") else pictures * captions - captions + 1
        assert (ranks.first == worst).all(), name


@pytest.mark.parametrize("side", [5, 16, 64])
@pytest.mark.parametrize("asked", [1, 9, 40])
def test_ranks_among_pictures_of_which_few_have_captions(side: int, asked: int) -> None:
    rng = np.random.default_rng(asked)
    pictures, picture_of = unit(rng.standard_normal((93, 24))), np.sort(rng.integers(0, 93, asked))
    texts = unit(pictures[picture_of] + 0.6 * rng.standard_normal((asked, 24)) / 24**0.5)
    by_text, by_picture = expected_ranks(texts, pictures, picture_of)
    for name, ranks in both_ways(texts, pictures, picture_of, side).items():
        assert ranks.ranks.tolist() == (by_text if name.startswith("t2i") else by_picture).tolist(), name


def test_pictures_without_captions_make_no_tiles_of_their_own() -> None:
    """A thousand captions among a million pictures were cut as the pictures are, into 1,563 rows of tiles, nearly all empty."""
    for picture_of in (np.arange(1000), np.arange(1000) * 50):
        places, most = _Tally(picture_of, np.zeros(1000, np.float32), 50_000)._places(50_000, 640)
        assert len({(rows.start, rows.stop) for rows, _ in places}) == 2
        assert len(places) == 2 * 79
        assert most == 640
        covered = sorted({(rows.start, rows.stop) for rows, _ in places})
        assert [covered[0][0], covered[0][1], covered[1][1]] == [0, covered[1][0], 1000]


@pytest.mark.parametrize("kind", ["plain", "near", "copies", "poor"])
@pytest.mark.parametrize("side", [40, 64])
def test_ranks_are_those_of_exact_scores(kind: str, side: int) -> None:
    """`near`: vectors that differ by about what float32 rounds; `copies`: some equal; `poor`: nothing is found."""
    rng = np.random.default_rng(3)
    pictures, captions, dim = 93, 3, 48
    image = rng.standard_normal((pictures, dim))
    if kind == "near":
        image = image[:1] + 2e-7 * image
    if kind == "copies":
        image[30:60] = image[:30]
    picture_of = np.repeat(np.arange(pictures), captions)
    noise = 0.0 if kind == "copies" else 1e-7 if kind == "near" else 0.5 if kind == "plain" else 50.0
    texts = image[picture_of] + noise * rng.standard_normal((len(picture_of), dim))
    t2i, i2t = expected_ranks(unit(texts), unit(image), picture_of)
    for name, ranks in both_ways(unit(texts), unit(image), picture_of, side).items():
        assert np.array_equal(ranks.ranks, t2i if name.startswith("t2i") else i2t), name


def test_a_block_is_exact_next_to_the_middle_between_two_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picdesk.products.COLUMNS_AT_ONCE", 33)
    rng = np.random.default_rng(4)
    left, right = unit(rng.standard_normal((60, 30))), unit(rng.standard_normal((50, 30)))
    left[0], right[0] = 0, 0
    left[0, :2], right[0, :2] = 1, (1, 2**-24)  # 1 + 2**-24 lies in the middle
    out = np.empty((60, 50), np.float32)
    exact_block(left, right, out)
    rows, columns = np.divmod(np.arange(3000), 50)
    assert np.array_equal(out.ravel(), exact_scores(left, right, rows, columns))


def test_a_tile_on_a_device_is_exact_there_too() -> None:
    """Also in the cell whose float64 sum lies in the middle between two float32 numbers, which the device leaves open."""
    rng = np.random.default_rng(4)
    left, right = unit(rng.standard_normal((60, 30))), unit(rng.standard_normal((50, 30)))
    left[0], right[0] = 0, 0
    left[0, :2], right[0, :2] = 1, (1, 2**-24)
    nowhere = (np.empty(0, np.int64), np.empty(0, np.int64))
    tile = DeviceTiles(left, right, "cpu").cut(slice(None), slice(None), nowhere)
    tile.make_exact()
    rows, columns = np.divmod(np.arange(3000), 50)
    assert np.array_equal(tile.scores.numpy().ravel(), exact_scores(left, right, rows, columns))


@pytest.mark.parametrize("way", [-0.5, 0.5])
def test_what_a_device_leaves_open_is_rounded_as_exact_scores_are(way: float) -> None:
    """Its float64 sums may be off by their slack, which moves those next to a middle over it."""
    left, right = np.eye(2, 30, dtype=np.float32), np.eye(2, 30, dtype=np.float32)
    right[0, 1] = 2**-24
    left[0, 1] = 1  # 1 + 2**-24 lies in the middle between two float32 numbers
    nowhere = (np.empty(0, np.int64), np.empty(0, np.int64))
    tile = DeviceTiles(left, right, "cpu").cut(slice(None), slice(None), nowhere)
    row, column = torch.tensor([0, 1]), torch.tensor([0, 1])
    sums = torch.tensor([1 + 2**-24, 1.0], dtype=torch.float64) + way * tile.slack
    wanted = exact_scores(left, right, np.arange(2), np.arange(2))
    assert np.array_equal(tile._round(sums, row, column).numpy(), wanted)


@pytest.mark.parametrize("dim", [1, 33, 512, 1000])
def test_no_product_is_further_from_the_exact_one_than_its_bound(dim: int) -> None:
    rng = np.random.default_rng(dim)
    for left in (unit(rng.standard_normal((50, dim))), unit(np.full((50, dim), 0.3)), 9 * unit(rng.random((50, dim)))):
        wide = left.astype(np.float64)
        assert np.abs(left @ left.T - wide @ wide.T).max() <= error_bound(left, left)
