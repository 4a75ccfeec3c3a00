"""Karpathy's JSON files (`dataset_flickr8k.json`, `dataset_coco.json`; Karpathy and Fei-Fei 2015) with their own splits."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.readers.gathering import Gathering, split_name
from picdesk.data.readers.text import read_text
from picdesk.data.sources import PictureFiles
from picdesk.errors import ConfigError, DataError
from picdesk.parts import config_part


@config_part
class Karpathy:
    """Pictures `<filepath>/<filename>` below `folder`, their sentences (field caption, ids `<picture>#<n>`), their split.

    `restval` says what becomes of COCO's extra part: `train` adds it to the training pictures, as most papers do, `drop`
    leaves it out. All sentences are kept unless `max_captions` says how many of each picture's first ones are.
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

    def read(self) -> Collection:
        """The pictures of the file that are there, in its order."""
        images = self._images(data_file(self.root, self.file, self.name))
        inside = Inside(data_folder(str(Path(self.root) / self.folder), self.name))
        gathering = Gathering[Path](self.name)
        dropped = 0
        for number, image in enumerate(images):
            where = f"{self.file} image {number}"
            if not isinstance(image, dict) or not isinstance(image.get("sentences"), list):
                gathering.skip(where, "not an object with sentences")
            elif image.get("split") == "restval" and self.restval == "drop":
                dropped += 1
            else:
                self._image(gathering, inside, image, where)
        gathering.notes += [f"{self.file}: {dropped} restval pictures left out (data.restval=drop)"] if dropped else []
        return _counted(gathering.collection(lambda places: PictureFiles(tuple(places))))

    def _images(self, path: Path) -> list[Any]:
        try:
            value = json.loads(read_text(path)[0])
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path.name}: not JSON ({error})") from None
        images = value.get("images") if isinstance(value, dict) else None
        if not isinstance(images, list):
            raise DataError(f"{path.name}: not in Karpathy's form: an object with a list `images` is needed")
        return images

    def _image(self, gathering: Gathering[Path], inside: Inside, image: dict[str, Any], where: str) -> None:
        parts = [str(image.get("filepath") or ""), str(image.get("filename") or "")]
        name = "/".join(part.strip("/") if place else part for place, part in enumerate(parts) if part)
        try:
            path = inside.path(name)
        except RefusedError as refused:
            gathering.skip(where, str(refused))
            return
        if not gathering.picture(name, path, where):
            return
        split = str(image.get("split") or "")
        gathering.member(name, "train" if split == "restval" else split_name(split, where), where)
        for number, sentence in enumerate(image["sentences"][: self.max_captions]):
            caption = str(sentence.get("raw") or "") if isinstance(sentence, dict) else ""
            if "\0" in caption:
                gathering.skip(where, "a NUL character in the text")
            else:
                gathering.text(name, {"caption": caption.strip()}, where, f"{name}#{number}")


def _counted(collection: Collection) -> Collection:
    """With a note where pictures have different numbers of captions: papers keep or cut the extra ones, and must say so."""
    counts = Counter(Counter(collection.picture_of.tolist()).values())
    if len(counts) < 2:
        return collection
    listed = ", ".join(f"{pictures} with {captions}" for captions, pictures in sorted(counts.items()))
    return replace(collection, notes=(*collection.notes, f"pictures by number of captions: {listed}"))
