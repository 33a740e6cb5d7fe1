"""What the instances json of COCO says about one category, kept so that half a gigabyte is parsed once only.

An index is kept beside the json, or in ``$MXNET_HOME/gluon_aff/coco`` where that place cannot be written. It is made
again when size or time of the json (in a zip: size or checksum) have changed, and may be deleted at any time.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ...errors import GluonAFFError, UsageError
from ...runtime.home import mxnet_home
from ...utils.files import atomic_write
from ..trees import FileTree

_FORMAT = 2  # raise it when an index says something else than before


@dataclass(frozen=True)
class CocoImage:
    """An image that holds the category.

    Attributes
    ----------
    file : str
        Its name, without folders.
    height, width : int
        In pixels.
    url : str
        Where it can be fetched; may be empty.
    segmentations : list
        Those of its instances, as the json has them.

    Raises
    ------
    ValueError
        When one of these is of another type, or the name is one of a file elsewhere.
    """

    file: str
    height: int
    width: int
    url: str
    segmentations: List[Any]

    def __post_init__(self) -> None:
        if not isinstance(self.file, str) or not isinstance(self.url, str):
            raise ValueError(f"the file name {self.file!r} and URL {self.url!r}: expected text")
        if not self.file or "/" in self.file or "\\" in self.file or "\0" in self.file or self.file.startswith("."):
            raise ValueError(f"the file name {self.file!r}: expected a name without folders")
        if any(type(side) is not int or side < 1 for side in (self.height, self.width)):
            raise ValueError(f"{self.file} of {self.width!r}x{self.height!r} pixels: expected whole numbers above 0")


@dataclass(frozen=True)
class CocoIndex:
    """The images of a split that hold the category, in the json's order; ``total`` counts all of the split's."""

    category: str
    total: int
    images: List[CocoImage]

    @property
    def instances(self) -> int:
        return sum(len(image.segmentations) for image in self.images)


def load_index(tree: FileTree, name: str, beside: Optional[Path], category: str) -> CocoIndex:
    """The index of the json ``name`` in a folder or zip, read or made and then kept in the folder ``beside``.

    Raises UsageError for a category the json does not have, GluonAFFError for a json that is broken.
    """
    stem = f"{name.rsplit('/', 1)[-1].rsplit('.', 1)[0]}.{category.replace(' ', '-').replace('/', '-')}"
    key = hashlib.sha256(f"{tree.path.resolve()}/{name}".encode()).hexdigest()[:16]
    places = [mxnet_home() / "gluon_aff" / "coco" / f"{stem}.{key}.index.json"]
    if beside is not None:
        places.insert(0, beside / f"{stem}.index.json")
    state = {"format": _FORMAT, "category": category, "json": list(tree.state(name))}
    for place in places:
        index = _read(place, state)
        if index is not None:
            return index
    index = _build(_parsed(tree.read(name), tree.where(name)), tree.where(name), category)
    stored = asdict(index)
    document = {"state": state, "sha256": _digest(stored), "index": stored}
    for place in places:
        try:
            with atomic_write(place) as handle:
                json.dump(document, handle)
            break
        except GluonAFFError:
            pass  # the next place, and without any it is made again each time
    return index


def _read(path: Path, state: Dict[str, Any]) -> Optional[CocoIndex]:
    """None for one that is missing, damaged or of another state of the json."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        index = stored["index"]
        if stored["state"] != state or stored["sha256"] != _digest(index):
            return None
        images = [CocoImage(**image) for image in index["images"]]
        return CocoIndex(index["category"], index["total"], images)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _digest(index: Any) -> str:
    """The SHA-256 of an index's content."""
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _parsed(content: bytes, where: str) -> Dict[str, List[Dict[str, Any]]]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8; of lists within lists
        raise GluonAFFError(
            f"{where} ({len(content)} bytes) is broken JSON ({error}): copy or download it again"
        ) from error
    for key in ("images", "annotations", "categories"):
        entries = parsed.get(key) if isinstance(parsed, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise GluonAFFError(f"{where} has no list {key!r}: expected an instances json of COCO")
    return parsed


def _build(parsed: Dict[str, List[Dict[str, Any]]], where: str, category: str) -> CocoIndex:
    try:
        return _indexed(parsed, where, category)
    except KeyError as error:
        raise GluonAFFError(
            f"{where}: an image, annotation or category lacks {error}: expected an instances json of COCO"
        ) from error
    except TypeError as error:  # a list or dictionary where a name or number should be
        raise GluonAFFError(
            f"{where}: an id or name of an image, annotation or category is invalid ({error}): expected an instances "
            "json of COCO"
        ) from error


def _indexed(parsed: Dict[str, List[Dict[str, Any]]], where: str, category: str) -> CocoIndex:
    numbers = {entry["name"]: entry["id"] for entry in parsed["categories"]}
    if category not in numbers:
        raise UsageError(f"{where} has no category {category!r}: {_suggestion(category, list(numbers))}")
    segmentations: Dict[int, List[Any]] = {}
    for annotation in parsed["annotations"]:
        if annotation["category_id"] == numbers[category]:
            segmentations.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    images = []
    for entry in parsed["images"]:
        if entry["id"] in segmentations:
            found = segmentations.pop(entry["id"])
            try:
                image = CocoImage(entry["file_name"], entry["height"], entry["width"], entry.get("coco_url", ""), found)
            except ValueError as error:
                raise GluonAFFError(f"{where} has {error}") from error
            images.append(image)
    if segmentations:
        raise GluonAFFError(f"{where} has annotations of image {next(iter(segmentations))}, which it does not list")
    if not images:
        raise UsageError(f"none of the {len(parsed['images'])} images of {where} holds a {category!r}")
    return CocoIndex(category, len(parsed["images"]), images)


def _suggestion(category: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(category.lower(), names, n=5, cutoff=0.5)
    if near:
        return f"do you mean {' or '.join(near)}?"
    return f"choose one of its {len(names)}, {', '.join(names[:10])}" + (", ..." if len(names) > 10 else "")
