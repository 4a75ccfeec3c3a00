"""What NewsImages and Flickr8k really hold, as found; these pin the facts that the results rest on."""

from pathlib import Path

import numpy as np
import pytest

from picdesk.data.checks import check_collection
from picdesk.data.facts import PictureFacts
from picdesk.data.groups import KINDS, see_all
from picdesk.data.splits import OfficialDev, Random
from picdesk.readers.flickr8k import Flickr8k
from picdesk.readers.newsimages import NewsImages
from picdesk.readers.npz import Npz

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_newsimages(data_root: Path, tmp_path: Path) -> None:
    collection = NewsImages(root=str(data_root / "newsimages")).read()
    assert (len(collection.picture_ids), len(collection.text_ids), len(collection.skipped)) == (3958, 3958, 285)
    assert all("no picture" in skipped.reason for skipped in collection.skipped)
    assert all((collection.pictures.file(i)[0].stem == name) for i, name in enumerate(collection.picture_ids))  # type: ignore[attr-defined]
    splits = Random(seed=0).assign(collection)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 3166, "val": 396, "test": 396}
    report = check_collection(collection, splits, max_bad_fraction=0.1, facts=PictureFacts(tmp_path / "facts.json"))
    assert {finding.kind: finding.count for finding in report.findings} == {
        "rows left out by the reader": 285,
        "texts repeated across splits": 32,
        "texts repeated within a split": 47,
        "near-duplicate pictures across splits": 52,
        "near-duplicate pictures within a split": 89,
    }
    again = PictureFacts(tmp_path / "facts.json")
    check_collection(collection, splits, max_bad_fraction=0.1, facts=again)
    assert (again.hashed, again.decoded) == (0, 0)


@pytest.mark.slow
def test_newsimages_drawn_by_groups(data_root: Path, tmp_path: Path) -> None:
    collection = NewsImages(root=str(data_root / "newsimages")).read()
    facts = PictureFacts(tmp_path / "facts.json")
    split = Random(seed=0, groups=KINDS)
    splits = split.assign(collection, lambda pictures, looks: see_all(pictures, looks, facts))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 3166, "val": 396, "test": 396}
    found = "279 pictures are in 117 groups, the largest of 6"
    assert split.notes == (f"split by groups of equal pictures, near-duplicates, equal texts: {found}",)
    report = check_collection(collection, splits, max_bad_fraction=0.1, facts=facts)
    assert {finding.kind: finding.count for finding in report.findings} == {
        "rows left out by the reader": 285,
        "texts repeated within a split": 79,
        "near-duplicate pictures within a split": 141,
    }


def test_both_forms_of_flickr8k_say_the_same(data_root: Path) -> None:
    one = Flickr8k(root=str(data_root / "flickr8k")).read()
    other = Flickr8k(root=str(data_root / "flickr8k"), captions_file="not there").read()
    assert (len(one.picture_ids), len(one.text_ids), one.skipped) == (6000, 30000, ())
    assert one.text_ids == other.text_ids
    assert one.texts == other.texts
    assert np.array_equal(one.picture_of, other.picture_of)
    assert np.bincount(one.picture_of).tolist() == [5] * 6000
    sizes = {name: len(rows) for name, rows in OfficialDev(seed=0).assign(one).items()}
    assert sizes == {"train": 4500, "val": 500, "test": 1000}


@pytest.mark.slow
def test_flickr8k_splits_share_no_picture(data_root: Path) -> None:
    collection = Flickr8k(root=str(data_root / "flickr8k")).read()
    report = check_collection(collection, OfficialDev(seed=0).assign(collection))
    assert len(report.pictures) == 6000
    assert report.count("equal pictures across splits") == 0
    assert report.count("near-duplicate pictures across splits") == 0
    assert report.count("equal pictures within a split") == 1


def test_embeddings_of_flickr8k(data_root: Path) -> None:
    reader = Npz(
        root=str(data_root),
        file="clip_vit_b32_openai_flickr8k.npz",
        image_array="embedding",
        image_names="image",
        text_array=None,
        captions_file="flickr8k/captions.txt",
        folder="flickr8k/Images",
    )
    collection = reader.read()
    assert reader.embeddings("image").matrix.shape == (len(collection.picture_ids), 512)
    assert len(collection.text_ids) == 5 * len(collection.picture_ids)
