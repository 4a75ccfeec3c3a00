"""COCO's own caption files (`annotations/captions_val2017.json`; Chen et al. 2015, arXiv:1504.00325): images and annotations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picdesk.collection import Collection
from picdesk.data.places import Inside, RefusedError, data_file, data_folder
from picdesk.data.sources import PictureFiles
from picdesk.errors import ConfigError, DataError
from picdesk.parts import config_part
from picdesk.readers.gathering import Gathering, split_name
from picdesk.readers.karpathy import note_caption_counts, raw_text
from picdesk.readers.records import way_to_read
from picdesk.text.as_text import NoTextError, name_of, names_under

Picture = tuple[str, str]


@config_part
class Coco:
    """Pictures `file_name` below `folder` with the captions of their annotations (field caption, ids `<picture>#<n>`).

    `file` is one file, or a file for each split (`{train: captions_train2017.json, val: captions_val2017.json}`); `folder`
    is one folder for all, or a folder for each split. Captions keep the order of the file; `max_captions` says how many of
    each picture's first ones are kept (None: all). Annotations that belong to no picture of the file are listed and left out.
    """

    def __init__(
        self,
        root: str,
        file: str | Mapping[str, str],
        name: str = "coco",
        folder: str | Mapping[str, str] = ".",
        max_captions: int | None = None,
        max_bad_fraction: float = 0.01,
        encoding: str | None = None,
    ) -> None:
        if max_captions is not None and max_captions < 1:
            raise ConfigError(f"data.max_captions={max_captions}: 1 or more, or null for all")
        self.root = root
        self.files = {"": file} if isinstance(file, str) else dict(file)
        self.name = name
        self.folders = dict.fromkeys(self.files, folder) if isinstance(folder, str) else dict(folder)
        self.max_captions = max_captions
        self.max_bad_fraction = max_bad_fraction
        self.encoding = encoding
        without = [split for split in self.files if split not in self.folders]
        if without:
            raise ConfigError(f"data.folder names no folder for {', '.join(map(repr, without))} of data.file")

    def read(self) -> Collection:
        """The pictures that are there, in the order of the files, and their captions."""
        gathering = Gathering[Path](self.name)
        folders: dict[Path, Inside] = {}
        for split, file in self.files.items():
            folder = data_folder(str(Path(self.root) / self.folders[split]), self.name)
            inside = folders.setdefault(folder, Inside(folder))
            value = self._value(data_file(self.root, file, self.name), gathering)
            named = self._pictures(gathering, inside, value["images"], split, file)
            self._captions(gathering, value["annotations"], named, file)
        gathering.notes += [note for inside in folders.values() for note in inside.notes()]
        return note_caption_counts(gathering.collection(lambda places: PictureFiles(tuple(places))))

    def _value(self, path: Path, gathering: Gathering[Path]) -> dict[str, Any]:
        value = gathering.json(path, path.name, self.encoding)
        if not isinstance(value, dict) or not all(
            isinstance(value.get(key), list) for key in ("images", "annotations")
        ):
            form = way_to_read(value) if isinstance(value, dict) else ""
            told = f"{path.name}: not in COCO's form: an object with lists `images` and `annotations` is needed"
            raise DataError(told + (f"; {form}" if "Karpathy" in form else ""))
        if value["annotations"] and not any("caption" in one for one in value["annotations"] if isinstance(one, dict)):
            raise DataError(f"{path.name}: its annotations hold no `caption`; COCO's captions are in captions_*.json")
        return value

    def _pictures(
        self, gathering: Gathering[Path], inside: Inside, images: list[Any], split: str, file: str
    ) -> dict[str, Picture]:
        """Adds the pictures; the picture ("" where it was left out) and the place in the file of each image id."""
        named: dict[str, Picture] = {}
        inside.claim(names_under("file_name", (image for image in images if isinstance(image, dict))))
        for number, image in enumerate(images):
            where, name = f"{file} image {number}", ""
            try:
                key, name = (_name(image, part) for part in ("id", "file_name"))
                if key in named:
                    raise RefusedError(f"image id {key} stands already")
                named[key] = "", where
                path = inside.picture(name)
                name = inside.first_name(name, path)
            except (RefusedError, NoTextError) as refused:
                gathering.skip(where, str(refused), name)
                continue
            if gathering.picture(name, path, where):
                gathering.member(name, split_name(split, "data.file"), where)
                named[key] = name, where
        return named

    def _captions(
        self, gathering: Gathering[Path], annotations: list[Any], named: Mapping[str, Picture], file: str
    ) -> None:
        counts: dict[str, int] = {}
        for number, annotation in enumerate(annotations):
            where = f"{file} annotation {number}"
            try:
                key, caption = _name(annotation, "image_id"), raw_text(annotation, "caption")
                if key not in named:
                    raise NoTextError(f"no image has the id {key}")
                picture, place = named[key]
                if not picture:
                    raise NoTextError(f"its picture was left out ({place})")
            except NoTextError as error:
                gathering.skip(where, str(error))
                continue
            count = counts[picture] = counts.get(picture, 0) + 1
            if self.max_captions is None or count <= self.max_captions:
                gathering.text(picture, {"caption": caption}, where)


def _name(record: Any, key: str) -> str:
    if not isinstance(record, dict) or record.get(key) is None:
        raise NoTextError(f"not an object with {key!r}")
    return name_of(record[key], key)
