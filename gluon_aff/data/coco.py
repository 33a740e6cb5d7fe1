"""One category of COCO 2017 as a segmentation set, by default StopSign: images with a stop sign, and where it is.

    <root>/train2017/*.jpg or images/train2017/*.jpg, the same with val2017
    <root>/annotations/instances_train2017.json, or annotations_trainval2017.zip that holds it, there or in the root

The paper names StopSign a subset of COCO and says no more. Here it is every image with at least one instance, crowds
included, and a mask is the union of the instances. pycocotools (the extra ``coco``) draws masks.

As exporters write them, names of files may have folders, ids may be text, and sides 64.0. Entries of one file are one
image, categories of one name one category; annotations that are boxes alone are refused.
"""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError, near_matches
from ..runtime.threads import prefetch
from ..utils import console
from ..utils.download import download
from .decoding import decode_image, open_image
from .pairs import Pair, PairSet
from .trees import FileTree, digest_of, joined, open_file_tree

HOME = "http://images.cocodataset.org/"
SPLITS = {"train": "train2017", "val": "val2017", "test": "val2017", "train2017": "train2017", "val2017": "val2017"}

_ARCHIVE = "annotations_trainval2017.zip"
_CONNECTIONS = 8
_EXPECTED = "expected an instances json of COCO"
_SIDES = ("height", "width")
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
        import pycocotools.mask  # noqa: F401
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
    listed, total, notes = _read_annotations(found[0].read(found[1]), where, category)
    for note in notes:
        print(f"note: {where}: {note}", file=sys.stderr)
    folder = joined(root, "images", year_split)
    folder = folder if year_split in tree.folders(joined(root, "images")) else joined(root, year_split)

    def place(image: _Image) -> str:
        """Its file may be named from any folder on the way on."""
        places = [joined(above, image.file) for above in (folder, joined(root, "images"), root)]
        return next(filter(tree.exists, places), places[0])

    missing = [image for image in listed if not tree.exists(place(image))]
    if missing and fetch:
        _fetch_images(missing, path / folder, year_split)
    elif missing:
        raise GluonAFFError(
            f"{len(missing)} of the {len(listed)} images with a {category} are not in {tree.where(folder)}, "
            f"such as {missing[0].file}: `download` fetches them"
        )
    images = dict(zip(_names([image.file for image in listed]), listed))

    def read(name: str) -> Pair:
        image = images[name]
        file = place(image)
        pixels = decode_image(tree.read(file), tree.where(file))
        _check_size(image, (pixels.shape[1], pixels.shape[0]), tree.where(file))
        try:
            return pixels, draw_mask(image.segmentations, image.height, image.width)
        except ValueError as error:
            raise GluonAFFError(f"{where} has a segmentation of {image.file} that is invalid ({error})") from error

    instances = sum(len(image.segmentations) for image in listed)
    note = f"{category}: {len(images)} images, {instances} instances of {total} images in {year_split}"
    masks = zlib.crc32(repr([image.segmentations for image in listed]).encode())
    digest = f"{digest_of(tree, list(map(place, listed)))}-{masks:08x}"
    return PairSet("coco", str(path), list(images), read, note, digest=digest)


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


def _read_annotations(content: bytes, where: str, category: str) -> Tuple[List[_Image], int, List[str]]:
    """The images that hold the category, in the json's order, how many images there are, and what is to be said."""
    try:
        dataset = json.loads(content)
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8; of lists within lists
        raise GluonAFFError(
            f"{where} ({len(content)} bytes) is broken JSON ({error}): copy or download it again"
        ) from error
    for key in ("images", "annotations", "categories"):
        entries = dataset.get(key) if isinstance(dataset, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise GluonAFFError(f"{where} has no list {key!r}: {_EXPECTED}")
    try:
        shapes, notes = _shapes_of(dataset, where, category)
        return _images_with(dataset["images"], shapes, where, notes), len(dataset["images"]), notes
    except KeyError as error:
        raise GluonAFFError(f"{where}: an image, annotation or category lacks {error}: {_EXPECTED}") from error
    except TypeError as error:  # a list or dictionary where a name or number should be
        raise GluonAFFError(
            f"{where}: an id or name of an image, annotation or category is invalid ({error}): {_EXPECTED}"
        ) from error


def _shapes_of(dataset: Dict[str, Any], where: str, category: str) -> Tuple[Dict[str, List[Any]], List[str]]:
    """The segmentations of a category by their image's id, and what is to be said."""
    named: Dict[str, Set[str]] = {}
    for each in dataset["categories"]:
        named.setdefault(each["name"], set()).add(_id(each["id"]))
    if category not in named:
        raise UsageError(f"{where} has no category {category!r}: {near_matches(category, map(str, named))}")
    ids = sorted(named[category])
    notes = [f"{len(ids)} categories are called {category!r} (ids {', '.join(ids)}): all of them count"][: len(ids) - 1]
    listed = {_id(each["id"]) for each in dataset["images"]}
    shapes: Dict[str, List[Any]] = {}
    for each in dataset["annotations"]:
        image, number = _id(each["image_id"]), _id(each["category_id"])
        if number in named[category]:
            shapes.setdefault(image, []).append(each.get("segmentation"))
            if image not in listed:
                raise GluonAFFError(f"{where} has annotations of image {image}, which it does not list")
    if not shapes:
        raise UsageError(f"none of the {len(listed)} images of {where} holds a {category!r}")
    boxes = [sum(map(_is_box, each)) for each in shapes.values()]
    if any(boxes):
        raise GluonAFFError(
            f"{where}: {sum(boxes)} of {sum(map(len, shapes.values()))} annotations of {category!r}, in "
            f"{sum(map(bool, boxes))} of {len(boxes)} images, are boxes alone (no polygons or run lengths in "
            "'segmentation') and would be black in the mask: draw these, or remove these images from the json"
        )
    return shapes, notes


def _id(value: Any) -> str:
    """7, 7.0 and "7" are one id. Raises TypeError for what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) not in (int, str):
        raise TypeError(f"{value!r:.40}")
    return str(value)


def _is_box(segmentation: Any) -> bool:
    return segmentation is None or (isinstance(segmentation, list) and not any(segmentation))


def _images_with(
    entries: Sequence[Dict[str, Any]], shapes: Dict[str, List[Any]], where: str, notes: List[str]
) -> List[_Image]:
    """The images of these segmentations; entries of one file are one image, which is added to ``notes``."""
    images: Dict[str, _Image] = {}
    files: Dict[str, str] = {}  # by id
    twice: Set[str] = set()
    for entry in entries:
        number = _id(entry["id"])
        if number not in shapes:
            continue
        image = _image(entry, shapes[number] if number not in files else [], where)
        if files.setdefault(number, image.file) != image.file:
            raise GluonAFFError(f"{where} has two images of id {number}, {files[number]} and {image.file}: {_EXPECTED}")
        if image.file in images:
            first = images[image.file]
            if (first.height, first.width) != (image.height, image.width):
                raise GluonAFFError(
                    f"{where} lists {image.file} as {first.width}x{first.height} and as {image.width}x{image.height} "
                    "pixels: keep the entry that is right"
                )
            twice.add(image.file)
            image = first._replace(segmentations=[*first.segmentations, *image.segmentations])
        images[image.file] = image
    if twice:
        notes.append(f"{min(twice)} has several entries, which are one image" + _others(len(twice)))
    return list(images.values())


def _others(count: int) -> str:
    return f"; so have {count - 1} other files" if count > 1 else ""


def _image(entry: Dict[str, Any], segmentations: List[Any], where: str) -> _Image:
    """Raise GluonAFFError for values of another type, and for the name of a file elsewhere."""
    file, url = entry["file_name"], entry.get("coco_url", "")
    if not isinstance(file, str) or not isinstance(url, str):
        raise GluonAFFError(f"{where} has the file name {file!r} and URL {url!r}: expected text")
    slashed = file.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    if not parts or slashed[0] == "/" or slashed[-1] == "/" or ".." in parts or "\0" in file:
        raise GluonAFFError(f"{where} has the file name {file!r}: expected a name, or a path below the images' folder")
    sides = [
        int(side) if type(side) is float and side.is_integer() else side for side in map(entry.__getitem__, _SIDES)
    ]
    if any(type(side) is not int or side < 1 for side in sides):
        raise GluonAFFError(f"{where} has {file} of {sides[1]!r}x{sides[0]!r} pixels: expected whole numbers above 0")
    return _Image("/".join(parts), sides[0], sides[1], url, segmentations)


def _names(files: Sequence[str]) -> List[str]:
    """What images are called: their files without folders and suffix, or with as much of these as tells them apart."""
    without = [file if file.rsplit("/", 1)[-1].rfind(".") < 1 else file.rsplit(".", 1)[0] for file in files]
    stems = [name.rsplit("/", 1)[-1] for name in without]
    often = Counter(stems), Counter(without)
    names = [
        stem if often[0][stem] == 1 else name if often[1][name] == 1 else file
        for stem, name, file in zip(stems, without, files)
    ]
    return names if len(set(names)) == len(names) else list(files)


def _check_size(image: _Image, size: Tuple[int, int], where: str) -> None:
    if size != (image.width, image.height):
        lying = "its pixels lie on their side (EXIF), turn them (mogrify -auto-orient)"
        other = "it is another image or was resized, get the original"
        raise GluonAFFError(
            f"{where} is {size[0]}x{size[1]}, the annotations are for {image.width}x{image.height}: "
            f"{lying if size == (image.height, image.width) else other}"
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
