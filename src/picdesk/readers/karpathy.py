"""Karpathy's JSON files (`dataset_flickr8k.json`, `dataset_coco.json`; Karpathy and Fei-Fei 2015) with their own splits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.errors import ConfigError, DataError
from picdesk.files import Doubled
from picdesk.parts import config_part
from picdesk.readers.folder import SUFFIXES
from picdesk.readers.gathering import Gathering, split_name
from picdesk.readers.records import way_to_read
from picdesk.text.as_text import NoTextError, name_of, plain_text


@config_part
class Karpathy:
    """Pictures `<filepath>/<filename>` below `folder`, their sentences (field caption, ids `<picture>#<n>`), their split.

    `restval` says what becomes of COCO's extra part: `train` adds it to the training pictures, as most papers do, `drop`
    leaves it out. All sentences are kept unless `max_captions` says how many of each picture's first ones are. A sentence
    is the text under `raw`; one that is no text is listed and left out.
    """

    def __init__(
        self,
        root: str,
        file: str,
        name: str = "karpathy",
        folder: str = ".",
        restval: Literal["train", "drop"] = "train",
        max_captions: int | None = None,
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        if restval not in ("train", "drop"):
            raise ConfigError(f"data.restval={restval}: train or drop")
        if max_captions is not None and max_captions < 1:
            raise ConfigError(f"data.max_captions={max_captions}: 1 or more, or null for all")
        self.root = root
        self.file = file
        self.name = name
        self.folder = folder
        self.restval = restval
        self.max_captions = max_captions
        self.max_bad_fraction = max_bad_fraction
        self.encoding = encoding

    def read(self) -> Collection:
        """The pictures of the file that are there, in its order."""
        gathering = Gathering[Path](self.name)
        images = self._images(data_file(self.root, self.file, self.name), gathering)
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        inside.claim(_files(images))
        dropped = 0
        for number, image in enumerate(images):
            where = f"{self.file} image {number}"
            if isinstance(image, Doubled):
                gathering.skip(where, f"the key {image.twice!r} stands twice")
            elif not isinstance(image, dict) or not isinstance(image.get("sentences"), list):
                gathering.skip(where, "not an object with sentences")
            elif image.get("split") == "restval" and self.restval == "drop":
                dropped += 1
            else:
                self._image(gathering, inside, image, where)
        gathering.notes += [f"{self.file}: {dropped} restval pictures left out (data.restval=drop)"] if dropped else []
        gathering.notes += inside.notes()
        return note_caption_counts(gathering.collection(lambda places: PictureFiles(tuple(places))))

    def _images(self, path: Path, gathering: Gathering[Path]) -> list[Any]:
        value = gathering.json(path, path.name, self.encoding)
        images = value.get("images") if isinstance(value, dict) else None
        if not isinstance(images, list):
            form = "a list of records; read it by data=jsonl" if isinstance(value, list) else "without that"
            raise DataError(
                f"{path.name}: not in Karpathy's form: an object with a list `images` is needed, this is {form}"
            )
        if isinstance(value.get("annotations"), list):
            raise DataError(f"{path.name}: not in Karpathy's form: {way_to_read(value)}")
        return images

    def _image(self, gathering: Gathering[Path], inside: Inside, image: dict[str, Any], where: str) -> None:
        name = ""
        try:
            name = _file(image)
            path = inside.picture(name, SUFFIXES)
            picture = inside.first_name(name, path)
            split = name_of(image.get("split"), "split")
        except (RefusedError, NoTextError) as refused:
            gathering.skip(where, str(refused), name)
            return
        if not gathering.picture(picture, path, where):
            return
        gathering.member(picture, "train" if split == "restval" else split_name(split, where), where)
        for number, sentence in enumerate(image["sentences"][: self.max_captions]):
            try:
                caption = raw_text(sentence, "raw")
                gathering.text(picture, {"caption": caption}, where, f"{name}#{number}")
            except NoTextError as error:
                gathering.skip(f"{where}, sentence {number}", str(error))


def _file(image: Mapping[str, Any]) -> str:
    """Folder and name of the file of a picture. Raises `NoTextError`."""
    parts = [name_of(image.get(key), key) for key in ("filepath", "filename")]
    return "/".join(part.strip("/") if place else part for place, part in enumerate(parts) if part)


def _files(images: Iterable[Any]) -> Iterator[str]:
    """The same of all, without what has none."""
    for image in images:
        try:
            if isinstance(image, dict):
                yield _file(image)
        except NoTextError:
            continue


def raw_text(record: Any, key: str) -> str:
    """The text of a record under a key. Raises `NoTextError` with the words for the list of what was left out."""
    if not isinstance(record, dict) or isinstance(record, Doubled) or key not in record:
        raise NoTextError(f"not an object with {key!r}")
    return plain_text(record[key], key)


def note_caption_counts(collection: Collection) -> Collection:
    """With a note where pictures have different numbers of captions: papers keep or cut the extra ones, and must say so."""
    each = np.bincount(collection.picture_of, minlength=len(collection.picture_ids))
    counts = Counter(each.tolist())
    if len(counts) < 2:
        return collection
    listed = ", ".join(f"{pictures} with {captions}" for captions, pictures in sorted(counts.items()))
    return replace(collection, notes=(*collection.notes, f"pictures by number of captions: {listed}"))
