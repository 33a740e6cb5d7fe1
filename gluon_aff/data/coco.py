"""One category of COCO 2017 as a segmentation set, by default StopSign: images with a stop sign, and where it is.

    <root>/train2017/*.jpg or images/train2017/*.jpg, the same with val2017
    <root>/annotations/instances_train2017.json, or annotations_trainval2017.zip that holds it, there or in the root

The paper names StopSign a subset of COCO and says no more. Here it is every image with at least one instance, crowds
included, and a mask is the union of the instances. pycocotools (the extra ``coco``) indexes the json and draws masks.
"""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError, near_matches
from ..runtime.threads import prefetch
from ..utils import console
from ..utils.download import download
from .decoding import decode_image, open_image
from .pairs import Pair, PairSet
from .trees import FileTree, joined, open_file_tree

HOME = "http://images.cocodataset.org/"
SPLITS = {"train": "train2017", "val": "val2017", "test": "val2017", "train2017": "train2017", "val2017": "val2017"}

_ARCHIVE = "annotations_trainval2017.zip"
_CONNECTIONS = 8
_EXPECTED = "expected an instances json of COCO"
_FEWEST_NUMBERS = 6  # of a polygon: two points have no area


class _Image(NamedTuple):
    """An image that holds the category, and the segmentations of its instances as the json has them."""

    file: str
    height: int
    width: int
    url: str
    segmentations: List[Any]


def load_coco(path: Path, split: str, category: str = "stop sign", fetch: bool = False) -> PairSet:
    """Return the pairs of 'train' (train2017) or of 'val' or 'test' (val2017), in the json's order.

    path: the root, a folder or a zip; a folder around everything is skipped. fetch: download the annotations unless
    they are there, and of the images those that hold the category and are missing; the root must be a folder then.

    Raises UsageError for a split or category there is not, GluonAFFError for what is missing, damaged or not of the
    size the json says, and without pycocotools.
    """
    if split not in SPLITS:
        raise UsageError(f"coco has no split {split!r}: choose one of {', '.join(SPLITS)}")
    try:
        import pycocotools.coco  # noqa: F401
    except ImportError as error:
        raise GluonAFFError(
            f"COCO needs pycocotools ({error}): pip install 'gluon_aff[coco]' or pip install pycocotools"
        ) from error
    if fetch:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: downloading needs a folder")
        path.mkdir(parents=True, exist_ok=True)
    tree = open_file_tree(path)
    year_split = SPLITS[split]
    root = _root(tree)
    found = _annotations(tree, root, year_split)
    if found is None and fetch:
        _fetch_annotations(path / root)
        found = _annotations(tree, root, year_split)
    if found is None:
        files = tree.files(joined(root, "annotations")) + tree.files(root)
        raise GluonAFFError(
            f"no annotations of {year_split} in {tree.where(root)}: expected annotations/instances_{year_split}.json "
            f"or annotations/{_ARCHIVE}, found {', '.join(files)[:200] or 'no files'} (`download` fetches them)"
        )
    where = found[0].where(found[1])
    listed, total = _read_annotations(found[0].read(found[1]), where, category)
    folder = joined(root, "images", year_split)
    folder = folder if year_split in tree.folders(joined(root, "images")) else joined(root, year_split)
    missing = [image for image in listed if not tree.exists(joined(folder, image.file))]
    if missing and fetch:
        _fetch_images(missing, path / folder, year_split)
    elif missing:
        raise GluonAFFError(
            f"{len(missing)} of the {len(listed)} images with a {category} are not in {tree.where(folder)}, "
            f"such as {missing[0].file}: `download` fetches them"
        )
    images = {image.file.rsplit(".", 1)[0]: image for image in listed}

    def read(name: str) -> Pair:
        image = images[name]
        file = joined(folder, image.file)
        pixels = decode_image(tree.read(file), tree.where(file))
        _check_size(image, (pixels.shape[1], pixels.shape[0]), tree.where(file))
        try:
            return pixels, draw_mask(image.segmentations, image.height, image.width)
        except ValueError as error:
            raise GluonAFFError(f"{where} has a segmentation of {image.file} that is invalid ({error})") from error

    instances = sum(len(image.segmentations) for image in listed)
    note = f"{category}: {len(images)} images, {instances} instances of {total} images in {year_split}"
    return PairSet("coco", str(path), list(images), read, note)


def _root(tree: FileTree) -> str:
    def is_root(place: str) -> bool:
        return "annotations" in tree.folders(place) or _ARCHIVE in tree.files(place)

    below = [place for place in tree.folders() if is_root(place)]
    return below[0] if len(below) == 1 and not is_root("") else ""


def _annotations(tree: FileTree, root: str, split: str) -> Optional[Tuple[FileTree, str]]:
    """Where the json lies: in the tree, or in the archive in which COCO publishes it."""
    name = f"instances_{split}.json"
    if tree.exists(joined(root, "annotations", name)):
        return tree, joined(root, "annotations", name)
    for archive in (joined(root, "annotations", _ARCHIVE), joined(root, _ARCHIVE)):
        if tree.path.is_dir() and tree.exists(archive):
            packed = open_file_tree(tree.path / archive)
            for inside in (f"annotations/{name}", name):
                if packed.exists(inside):
                    return packed, inside
    return None


def _read_annotations(content: bytes, where: str, category: str) -> Tuple[List[_Image], int]:
    """The images that hold the category, in the json's order, and how many images there are."""
    from pycocotools.coco import COCO

    index = COCO()
    try:
        index.dataset = json.loads(content)
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8; of lists within lists
        raise GluonAFFError(
            f"{where} ({len(content)} bytes) is broken JSON ({error}): copy or download it again"
        ) from error
    for key in ("images", "annotations", "categories"):
        entries = index.dataset.get(key) if isinstance(index.dataset, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise GluonAFFError(f"{where} has no list {key!r}: {_EXPECTED}")
    try:
        with redirect_stdout(io.StringIO()):
            index.createIndex()
        return _images_with(index, where, category), len(index.dataset["images"])
    except KeyError as error:
        raise GluonAFFError(f"{where}: an image, annotation or category lacks {error}: {_EXPECTED}") from error
    except TypeError as error:  # a list or dictionary where a name or number should be
        raise GluonAFFError(
            f"{where}: an id or name of an image, annotation or category is invalid ({error}): {_EXPECTED}"
        ) from error


def _images_with(index: Any, where: str, category: str) -> List[_Image]:
    numbers = {each["name"]: number for number, each in index.cats.items()}
    if category not in numbers:
        raise UsageError(f"{where} has no category {category!r}: {near_matches(category, map(str, numbers))}")
    number = numbers[category]
    ids = set(index.catToImgs.get(number, ()))
    unknown = ids - set(index.imgs)
    if unknown:
        raise GluonAFFError(f"{where} has annotations of image {unknown.pop()}, which it does not list")
    if not ids:
        raise UsageError(f"none of the {len(index.imgs)} images of {where} holds a {category!r}")
    images = []
    for entry in index.dataset["images"]:
        if entry["id"] in ids:
            shapes = [each["segmentation"] for each in index.imgToAnns[entry["id"]] if each["category_id"] == number]
            size = entry["height"], entry["width"]
            images.append(_Image(entry["file_name"], *size, entry.get("coco_url", ""), shapes))
            _check(images[-1], where)
    return images


def _check(image: _Image, where: str) -> None:
    """Raise GluonAFFError for values of another type, and for the name of a file elsewhere."""
    file = image.file
    if not isinstance(file, str) or not isinstance(image.url, str):
        raise GluonAFFError(f"{where} has the file name {file!r} and URL {image.url!r}: expected text")
    if not file or file.startswith(".") or set(file) & set("/\\\0"):
        raise GluonAFFError(f"{where} has the file name {file!r}: expected a name without folders")
    if any(type(side) is not int or side < 1 for side in (image.height, image.width)):
        raise GluonAFFError(
            f"{where} has {file} of {image.width!r}x{image.height!r} pixels: expected whole numbers above 0"
        )


def _check_size(image: _Image, size: Tuple[int, int], where: str) -> None:
    if size != (image.width, image.height):
        raise GluonAFFError(
            f"{where} is {size[0]}x{size[1]}, the annotations are for {image.width}x{image.height}: "
            "it is another image or was resized, get the original"
        )


# Downloads -----------------------------------------------------------------------------------------------------------


def _fetch_annotations(root: Path) -> None:
    def verify(path: Path) -> None:
        if not zipfile.is_zipfile(path):
            raise GluonAFFError(f"{path.name} is not a whole zip archive")

    download(f"{HOME}annotations/{_ARCHIVE}", root / "annotations" / _ARCHIVE, verify=verify)


def _fetch_images(images: List[_Image], folder: Path, split: str) -> None:
    """What is there already stays; a break leaves the rest for the next time."""

    def fetch(image: _Image) -> None:
        def verify(path: Path) -> None:
            _check_size(image, open_image(path.read_bytes(), path.name).size, path.name)

        url = image.url or f"{HOME}{split}/{image.file}"
        if not url.startswith(("http://", "https://")):
            raise GluonAFFError(f"the annotations give {url!r} as the place of {image.file}: expected http or https")
        download(url, folder / image.file, verify=verify)

    fetched = prefetch(fetch, images, "download", _CONNECTIONS)
    for _ in console.progress(fetched, total=len(images), label=f"images of {split}", unit="image"):
        pass


# Masks ---------------------------------------------------------------------------------------------------------------


def draw_mask(segmentations: Sequence[Any], height: int, width: int) -> np.ndarray:
    """Return what any of an image's segmentations covers, uint8 (height, width) of 0 and 1.

    ``segmentations`` are as the annotations have them: polygons, or run lengths, packed into text or not. Raises
    ValueError for one that is neither, or not one of such an image: pycocotools' C code believes NaN or 1e300.
    """
    from pycocotools import mask

    covered = np.zeros((height, width), dtype=np.uint8)
    for each in segmentations:
        if isinstance(each, list):
            polygons = [polygon for polygon in each if len(_check_polygon(polygon, height, width)) >= _FEWEST_NUMBERS]
            if polygons:
                covered |= mask.decode(mask.merge(mask.frPyObjects(polygons, height, width)))
        else:
            runs = _run_lengths(each, height, width)
            covered |= np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8).reshape(width, height).T
    return covered


def _check_polygon(polygon: Any, height: int, width: int) -> List[float]:
    """x and y of the corners in turn; at most one image's size outside the image."""
    if not isinstance(polygon, list):
        raise ValueError(f"the polygon {polygon!r:.40}, expected a list of numbers")
    if len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers, expected x and y in turn")
    for i, value in enumerate(polygon):
        side = height if i % 2 else width
        if type(value) not in (int, float) or not -side <= value <= 2 * side:
            raise ValueError(f"a polygon with the coordinate {value!r:.40}, expected a number from 0 to {side}")
    return polygon


def _run_lengths(segmentation: Any, height: int, width: int) -> List[int]:
    """Lengths of the background's and the foreground's runs in turn, column by column; together the image's pixels."""
    if not isinstance(segmentation, dict):
        raise ValueError(f"{segmentation!r:.40}, expected polygons or run lengths")
    if not {"size", "counts"} <= set(segmentation):
        raise ValueError("run lengths without 'size' or 'counts'")
    if segmentation["size"] != [height, width]:
        raise ValueError(f"run lengths for {segmentation['size']!r:.40}, expected [{height}, {width}]")
    counts = segmentation["counts"]
    counts = _counts(counts) if isinstance(counts, str) else counts
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("run lengths that are not whole numbers of at least 0")
    if sum(counts) != height * width:
        raise ValueError(f"run lengths of {sum(counts)!r:.40} pixels, expected {height * width}")
    return counts


def _counts(text: str) -> List[int]:
    """The run lengths that COCO packs into text.

    A number has 5 bits in each character, the lowest first, and bit 6 where another follows; the highest of all is the
    sign. From the fourth run on it is the difference from the run before the last.
    """
    counts: List[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"packed run lengths with {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("packed run lengths that are cut short")
    return counts
