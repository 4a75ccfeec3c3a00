import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from picdesk.data.facts import Look, PictureFacts, take_look
from picdesk.data.near import near_pairs
from picdesk.errors import DataError
from picdesk.readers.folder import Folder
from tests.data.samples import colour, encode_image, jpeg, put
from tests.mutations import mutations


class Held(list[bytes]):
    """Pictures that lie in no file of their own."""

    def read(self, i: int) -> bytes:
        return self[i]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for n in range(4):
        put(tmp_path / "pics" / f"{n}.jpg", jpeg(colour(n)))
    return tmp_path


def test_files_are_hashed_and_decoded_once(root: Path) -> None:
    collection = Folder(root=str(root / "pics")).read()
    rows = collection.take(np.array([3, 1]))
    first = PictureFacts(root / "facts.json", settled_s=0)
    digests = [first.digest(rows.pictures, i) for i in range(2)]
    assert digests == [hashlib.sha256(jpeg(colour(n))).hexdigest() for n in (3, 1)]
    assert [first.look(rows.pictures, i)[0] for i in range(2)] == digests
    assert (first.hashed, first.decoded) == (2, 2)
    first.save()
    second = PictureFacts(root / "facts.json", settled_s=0)
    assert [second.look(collection.pictures, i)[0] for i in (3, 1)] == digests
    assert (second.hashed, second.decoded) == (0, 0)


def test_nothing_is_written_again_that_has_not_changed(tmp_path: Path) -> None:
    """Pictures out of a table have no file whose times could be remembered: they are hashed by every job, their looks known."""
    pictures = Held([jpeg(colour(1)), jpeg(colour(2))])
    first = PictureFacts(tmp_path / "f.json")
    first.look(pictures, 0)
    first.save()
    written = (tmp_path / "f.json").stat().st_ino
    again = PictureFacts(tmp_path / "f.json")
    again.look(pictures, 0)
    again.save()
    assert (again.hashed, again.decoded) == (1, 0)
    assert (tmp_path / "f.json").stat().st_ino == written
    again.look(pictures, 1)
    again.save()
    assert (tmp_path / "f.json").stat().st_ino != written
    assert len(PictureFacts(tmp_path / "f.json")._looks) == 2


def test_a_swapped_picture_is_seen_even_with_its_old_size_and_time(root: Path) -> None:
    collection = Folder(root=str(root / "pics")).read()
    path = root / "pics" / "0.jpg"
    put(path, b"A" * 40)
    facts = PictureFacts(root / "facts.json", settled_s=0)
    before, info = facts.digest(collection.pictures, 0), path.stat()
    put(path, b"B" * 40)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert facts.digest(collection.pictures, 0) != before


def test_a_renamed_picture_is_decoded_once(root: Path) -> None:
    facts = PictureFacts(settled_s=0)
    first = facts.look(Folder(root=str(root / "pics")).read().pictures, 0)
    (root / "pics" / "0.jpg").rename(root / "pics" / "00.jpg")
    assert facts.look(Folder(root=str(root / "pics")).read().pictures, 0) == first
    assert facts.decoded == 1


def test_a_file_just_changed_is_not_remembered(root: Path) -> None:
    collection = Folder(root=str(root / "pics")).read()
    facts = PictureFacts(root / "facts.json", settled_s=3600)
    for _ in range(2):
        facts.digest(collection.pictures, 0)
    assert facts.hashed == 2


def test_what_is_not_remembered_is_no_reason_to_write(root: Path) -> None:
    collection = Folder(root=str(root / "pics")).read()
    young = PictureFacts(root / "facts.json", settled_s=3600)
    young.digest(collection.pictures, 0)
    young.save()
    assert not (root / "facts.json").exists()
    settled = PictureFacts(root / "facts.json", settled_s=0)
    settled.digest(collection.pictures, 0)
    settled.save()
    (root / "facts.json").unlink()
    settled.digest(collection.pictures, 0)
    settled.save()
    assert not (root / "facts.json").exists(), "nothing is new"


def test_a_broken_memory_counts_as_empty_and_two_jobs_merge(root: Path) -> None:
    put(root / "facts.json", "{broken")
    collection = Folder(root=str(root / "pics")).read()
    one, other = (PictureFacts(root / "facts.json", settled_s=0) for _ in range(2))
    one.digest(collection.pictures, 0)
    other.digest(collection.pictures, 1)
    one.save()
    other.save()
    assert len(json.loads((root / "facts.json").read_text().splitlines()[1])["digests"]) == 2


def test_a_file_that_went_away(root: Path) -> None:
    collection = Folder(root=str(root / "pics")).read()
    (root / "pics" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"picture 0\.jpg: cannot be read \(No such file"):
        PictureFacts().digest(collection.pictures, 0)


def drawing(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (240, 180), tuple(rng.integers(0, 255, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = rng.integers(0, 240), rng.integers(0, 180), rng.integers(10, 60)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


def look(image: Image.Image) -> Look:
    return take_look(image.convert("RGB"))


def test_near_duplicates_and_nothing_else() -> None:
    looks = [look(drawing(seed)) for seed in range(200)]
    base = drawing(3)
    smaller = base.resize((120, 90))
    import io

    pressed = Image.open(io.BytesIO(encode_image(base, "JPEG", quality=30)))
    red, green, blue = base.split()
    recoloured = Image.merge("RGB", (blue, red, green))
    found = near_pairs([*looks, look(smaller), look(pressed), look(recoloured)])
    assert found.tolist() == [[3, 200], [3, 201], [200, 201]]


def test_plain_pictures_of_two_colours_are_not_alike() -> None:
    looks = [look(Image.new("RGB", (50, 50), of)) for of in ((255, 0, 0), (0, 0, 255), (250, 0, 0))]
    assert near_pairs(looks).tolist() == [[0, 2]]
    assert near_pairs([]).shape == (0, 2)


def test_no_damaged_memory_is_believed(root: Path) -> None:
    """What is read back is what was written, or nothing, and then the pictures are looked at anew."""
    collection = Folder(root=str(root / "pics")).read()
    first = PictureFacts(root / "facts.json", settled_s=0)
    wanted = [first.look(collection.pictures, i) for i in range(4)]
    first.save()
    whole, tried = (root / "facts.json").read_bytes(), 0
    for what, content in mutations(whole):
        (root / "facts.json").write_bytes(content)
        again = PictureFacts(root / "facts.json", settled_s=0)
        assert again._digests in ({}, first._digests), what
        assert again._looks in ({}, first._looks), what
        tried += 1
    assert tried > 100
    (root / "facts.json").write_bytes(whole.replace(b'"digests":{', b'"digests":{"x":[1,2,3,"ff"],'))
    again = PictureFacts(root / "facts.json", settled_s=0)
    assert [again.look(collection.pictures, i) for i in range(4)] == wanted
    assert again.hashed == 4
