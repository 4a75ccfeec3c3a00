"""Pictures that belong together stay in one part of a drawn split, and nothing that is common to too many holds them together."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from picdesk.collection import Collection
from picdesk.data import near
from picdesk.data.facts import Look, PictureFacts
from picdesk.data.groups import KINDS, chosen_kinds, components, find_links, join_collections, see_all
from picdesk.data.sources import NoPictures
from picdesk.data.splits import Random
from picdesk.errors import ConfigError
from tests.data.test_facts import drawing


class Bytes:
    """Pictures that lie in memory."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        self.contents = contents

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, i: int) -> bytes:
        return self.contents[i]


def stored_picture(picture: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def collection(contents: Sequence[bytes] | int, titles: Sequence[str] = (), field: str = "title") -> Collection:
    """A picture for each content (or so many without any), and the i-th title for the picture i modulo their number."""
    count = contents if isinstance(contents, int) else len(contents)
    pictures = NoPictures(count) if isinstance(contents, int) else Bytes(contents)
    texts = tuple({field: title} for title in titles)
    owners = np.arange(len(titles), dtype=np.int64) % count
    names = tuple(f"n{i:04}" for i in range(count))
    return Collection("x", names, pictures, tuple(f"t{j}" for j in range(len(titles))), texts, owners)


def in_one_part(splits: dict[str, np.ndarray], pictures: Sequence[int]) -> bool:
    return any(set(pictures) <= set(rows.tolist()) for rows in splits.values())


PLAIN = [stored_picture(drawing(seed)) for seed in range(60)]


def test_equal_near_and_same_titles_make_one_group_however_the_rows_stand() -> None:
    contents = [
        *PLAIN[:30],
        PLAIN[4],
        stored_picture(drawing(4).resize((150, 110)), "JPEG"),
        stored_picture(drawing(9), "JPEG"),
    ]
    titles = [f"title {i}" for i in range(33)]
    titles[20], titles[30] = "  Storm over the Harbour", "storm over  the harbour"
    made = collection(contents, titles)
    links = find_links(made, KINDS)
    groups, said = components(links, 16)
    assert [[made.picture_ids[i] for i in group] for group in groups] == [
        ["n0004", "n0020", "n0030", "n0031"],
        ["n0009", "n0032"],
    ]
    assert (links.notes, said) == ((), ())
    facts = PictureFacts()
    for seed in range(12):
        splits = dict(Random(seed, groups=KINDS).assign(made, lambda one, looks: see_all(one, looks, facts)))
        assert all(in_one_part(splits, group) for group in groups), seed
        assert [len(rows) for rows in splits.values()] == [27, 3, 3]
        turned = made.take(np.arange(33)[::-1].copy())
        again = Random(seed, groups=KINDS).assign(turned, lambda one, looks: see_all(one, looks, facts))
        for name, rows in splits.items():
            assert {made.picture_ids[i] for i in rows} == {turned.picture_ids[i] for i in again[name]}
    assert any(not in_one_part(dict(Random(seed).assign(made)), groups[0]) for seed in range(12))


def test_without_anything_alike_the_split_is_that_of_the_pictures_alone() -> None:
    made = collection(PLAIN, [f"title {i}" for i in range(60)])
    grouped = Random(3, groups=KINDS)
    for name, rows in grouped.assign(made).items():
        assert rows.tolist() == Random(3).assign(made)[name].tolist()
    assert grouped.notes == ("split by groups of equal pictures, near-duplicates, equal texts: there are none",)


def test_each_kind_can_be_chosen_alone() -> None:
    contents = [*PLAIN[:20], PLAIN[0], stored_picture(drawing(1), "JPEG")]
    made = collection(contents, ["same" if i in (7, 8) else f"title {i}" for i in range(22)])
    found = {kind: components(find_links(made, (kind,)), 11)[0] for kind in KINDS}
    assert found == {"pictures": [[0, 20]], "near": [[0, 20], [1, 21]], "texts": [[7, 8]]}


@pytest.mark.parametrize(("value", "kinds"), [("none", ()), (None, ()), (["texts", "near"], ("near", "texts"))])
def test_what_groups_may_be(value: str | list[str] | None, kinds: tuple[str, ...]) -> None:
    assert chosen_kinds(value) == kinds


@pytest.mark.parametrize(("value", "named"), [(["near", "captions"], "captions"), (5, "5"), (True, "True"), ("", "")])
def test_what_groups_may_not_be(value: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"split\.groups={named}: choose none, or of pictures, near, texts"):
        Random(0, groups=value)


def test_captions_of_data_that_has_several_group_nothing_and_that_is_said() -> None:
    shared = ["a man in a red shirt" if j < 9 else f"caption {j}" for j in range(120)]
    links = find_links(collection(60, shared, "caption"), ("texts",))
    assert links.texts == ()
    assert "most pictures have several" in links.notes[0]
    assert len(find_links(collection(60, shared[:60], "caption"), ("texts",)).texts) == 1


def test_a_title_groups_where_there_are_captions_too() -> None:
    """Twenty headlines, each on two pictures whose captions are their own: as rows with one caption, and with three."""
    for captions in (1, 3):
        rows = range(40 * captions)
        made = collection(40, [f"Headline {j % 40 // 2}" for j in rows])
        made = replace(made, texts=tuple({**own, "caption": f"caption {j}"} for j, own in enumerate(made.texts)))
        links = find_links(made, ("texts",))
        assert links.texts == tuple((i, i + 1) for i in range(0, 40, 2))
        known = np.arange(40) % 2 == 0
        assert (links.alike(known) == ~known).all()


def test_a_caption_groups_where_titles_differ_and_with_a_title_that_says_the_same() -> None:
    made = collection(4, [f"title {i}" for i in range(4)])
    captions = ("the same", "The same", "c", "title 0")
    texts = tuple({**own, "caption": caption} for own, caption in zip(made.texts, captions, strict=True))
    assert find_links(replace(made, texts=texts), ("texts",)).texts == ((0, 1), (0, 3))


def test_a_label_in_place_of_a_title_groups_nothing() -> None:
    labels = collection(400, [f"a photo of class {i % 10}" for i in range(400)])
    split = Random(0, groups=("texts",))
    sizes = [len(rows) for rows in split.assign(labels).values()]
    assert sizes == [320, 40, 40]
    assert "10 texts that stand for more than 10 pictures each group nothing" in split.notes
    classes = {labels.texts[i]["title"] for i in split.assign(labels)["test"]}
    assert len(classes) > 5


def test_no_group_swallows_a_part() -> None:
    """300 of 500 rows hold the same placeholder: as one group they would be more than any part but train may take."""
    vectors = np.eye(201, dtype=np.float32)[[0] * 300 + list(range(1, 201))]
    made = replace(collection(500), vectors={"image": vectors})
    split = Random(1, groups=KINDS)
    assert [len(rows) for rows in split.assign(made).values()] == [400, 50, 50]
    assert any("were not followed: they would make a group of more than 200 pictures" in note for note in split.notes)
    assert any("equal vectors stand for equal pictures" in note for note in split.notes)
    fewer = replace(made, vectors={"image": np.eye(351, dtype=np.float32)[[0] * 150 + list(range(1, 351))]})
    for seed in range(8):
        splits = dict(Random(seed, groups=KINDS).assign(fewer))
        assert set(range(150)) <= set(splits["train"].tolist()), "150 of 500 fit into train alone"


def test_chains_end_where_a_group_would_be_too_large() -> None:
    titles = [
        f"chain {j // 2}" for j in range(1, 81)
    ]  # picture i has one text of its neighbour before and one of that behind
    owners = np.array([j // 2 for j in range(80)], np.int64)
    made = collection(40, titles)
    made = replace(made, picture_of=owners)
    groups, said = components(find_links(made, ("texts",)), 10)
    assert max(map(len, groups)) == 10
    assert said[0].endswith("they would make a group of more than 10 pictures")


def test_too_few_pictures_to_part_say_what_could_be_done() -> None:
    made = collection([PLAIN[0]] * 2 + PLAIN[1:7])
    with pytest.raises(ConfigError, match=r"8 pictures are too few: val would be empty \(split\.groups=none parts"):
        Random(0, 0.5, 0.0001, 0.4999, groups=KINDS).assign(made)


def test_what_is_alike_to_something_known_is_told_directly() -> None:
    contents = [*PLAIN[:10], PLAIN[2], stored_picture(drawing(3), "JPEG")]
    links = find_links(collection(contents, [*(f"t{i}" for i in range(11)), "t5"]), KINDS)
    known = np.zeros(12, np.bool_)
    known[[2, 3]] = True
    assert np.flatnonzero(links.alike(known)).tolist() == [10, 11]
    known[:] = False
    known[10] = True
    assert np.flatnonzero(links.alike(known)).tolist() == [2]
    known[:] = False
    known[5] = True
    assert np.flatnonzero(links.alike(known)).tolist() == [11], (
        "by its text; what is near to that one is another matter"
    )


def test_two_data_sets_are_compared_as_one() -> None:
    one, other = collection(PLAIN[:5], list("abcde")), collection([PLAIN[3], *PLAIN[6:8]], list("xya"))
    both = join_collections(one, other)
    known = np.arange(8) < 5
    assert [both.picture_ids[i] for i in np.flatnonzero(find_links(both, KINDS).alike(known))] == ["1/n0000", "1/n0002"]


def test_a_picture_that_cannot_be_decoded_stands_alone() -> None:
    links = find_links(collection([*PLAIN[:3], b"broken", b"broken"]), KINDS)
    assert components(links, 9)[0] == []
    assert links.notes == ("2 pictures that cannot be decoded were not compared",)


def looks(count: int) -> list[Look]:
    """Hashes that stand in clouds around some centres, so that many pairs lie on either side of the limits."""
    generator = np.random.default_rng(5)
    centres = generator.integers(0, 2**63, (count // 20, 2))
    found = []
    for i in range(count):
        phash, dhash = (int(one) for one in centres[i % len(centres)])
        for bit in generator.integers(0, 64, generator.integers(0, 9)):
            phash ^= 1 << int(bit)
        for bit in generator.integers(0, 64, generator.integers(0, 12)):
            dhash ^= 1 << int(bit)
        shade = np.full(192, 40 * (i % 3), np.uint8) + generator.integers(0, 20, 192, dtype=np.uint8)
        found.append(Look(100, phash, dhash, shade.tobytes()))
    return found


def test_bands_find_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = looks(1200)
    whole = near.near_pairs(made)
    for few, block in ((0, 4_000_000), (0, 50)):
        monkeypatch.setattr(near, "FEW", few)
        monkeypatch.setattr(near, "BLOCK", block)
        assert np.array_equal(near.near_pairs(made), whole)
    assert len(whole) > 1000
