"""One category of COCO 2017 as a segmentation set, by default StopSign: images with a stop sign, and where it is.

    <root>/train2017/*.jpg or images/train2017/*.jpg, the same with val2017
    <root>/annotations/instances_train2017.json, or annotations_trainval2017.zip that holds it, there or in the root

The paper names StopSign a subset of COCO and says no more. Here it is every image with at least one instance, crowds
included, and a mask is the union of the instances.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import ModuleType
from typing import List, NamedTuple, Optional, Tuple

from ...errors import GluonAFFError, UsageError
from ...utils import console
from ...utils.download import download
from ...utils.prefetch import prefetch
from ..decoding import decode_image, open_image
from ..trees import FileTree, joined, open_file_tree
from .coco_index import CocoImage, load_index
from .coco_masks import union
from .pair_set import Pair, PairSet

HOME = "http://images.cocodataset.org/"
SPLITS = {"train": "train2017", "val": "val2017", "test": "val2017", "train2017": "train2017", "val2017": "val2017"}

_ARCHIVE = "annotations_trainval2017.zip"
_CONNECTIONS = 8


class _Annotations(NamedTuple):
    """The instances json: a name in a folder or zip, and the folder its index may lie in."""

    tree: FileTree
    name: str
    beside: Optional[Path]


def load_coco(path: Path, split: str, category: str = "stop sign", fetch: bool = False) -> PairSet:
    """The pairs of 'train' (train2017) or of 'val' or 'test' (val2017), in the json's order.

    path: the root, a folder or a zip; a folder around everything is skipped. fetch: download the annotations unless
    they are there, and of the images those that hold the category and are missing; the root must be a folder then.

    Raises UsageError for a split or category there is not, GluonAFFError for what is missing, damaged or not of the
    size the json says, and without pycocotools.
    """
    if split not in SPLITS:
        raise UsageError(f"coco has no split {split!r}: choose one of {', '.join(SPLITS)}")
    rle = _pycocotools()
    if fetch:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: downloading needs a folder")
        path.mkdir(parents=True, exist_ok=True)
    tree = open_file_tree(path)
    year_split = SPLITS[split]
    root = _root(tree)
    annotations = _annotations(tree, root, year_split)
    if annotations is None and fetch:
        _fetch_annotations(path / root)
        annotations = _annotations(tree, root, year_split)
    if annotations is None:
        found = tree.files(joined(root, "annotations")) + tree.files(root)
        raise GluonAFFError(
            f"no annotations of {year_split} in {tree.where(root)}: expected annotations/instances_{year_split}.json "
            f"or annotations/{_ARCHIVE}, found {', '.join(found)[:200] or 'no files'} (--download fetches them)"
        )
    index = load_index(*annotations, category)
    folder = _image_folder(tree, root, year_split)
    missing = [image for image in index.images if not tree.exists(joined(folder, image.file))]
    if missing and fetch:
        _fetch_images(missing, path / folder, year_split)
    elif missing:
        raise GluonAFFError(
            f"{len(missing)} of the {len(index.images)} images with a {category} are not in {tree.where(folder)}, "
            f"such as {missing[0].file}: --download fetches them"
        )
    images = {image.file.rsplit(".", 1)[0]: image for image in index.images}

    def read(name: str) -> Pair:
        image = images[name]
        file = joined(folder, image.file)
        pixels = decode_image(tree.read(file), tree.where(file))
        _check_size(image, (pixels.shape[1], pixels.shape[0]), tree.where(file))
        try:
            return pixels, union(rle, image.segmentations, image.height, image.width)
        except ValueError as error:
            where = annotations.tree.where(annotations.name)
            raise GluonAFFError(f"{where} has a segmentation of {image.file} that is invalid ({error})") from error

    note = f"{category}: {len(images)} images, {index.instances} instances of {index.total} images in {year_split}"
    return PairSet("coco", str(path), list(images), read, note)


def _pycocotools() -> ModuleType:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise GluonAFFError(
            f"COCO's masks need pycocotools ({error}): pip install 'gluon_aff[coco]' or pip install pycocotools"
        ) from error
    return mask


def _root(tree: FileTree) -> str:
    def is_root(place: str) -> bool:
        return "annotations" in tree.folders(place) or _ARCHIVE in tree.files(place)

    below = [place for place in tree.folders() if is_root(place)]
    return below[0] if len(below) == 1 and not is_root("") else ""


def _annotations(tree: FileTree, root: str, split: str) -> Optional[_Annotations]:
    name = f"instances_{split}.json"
    in_tree = joined(root, "annotations", name)
    if tree.exists(in_tree):
        return _Annotations(tree, in_tree, (tree.path / in_tree).parent if tree.path.is_dir() else None)
    for archive in (joined(root, "annotations", _ARCHIVE), joined(root, _ARCHIVE)):
        if tree.path.is_dir() and tree.exists(archive):
            packed = open_file_tree(tree.path / archive)
            for inside in (f"annotations/{name}", name):
                if packed.exists(inside):
                    return _Annotations(packed, inside, packed.path.parent)
    return None


def _image_folder(tree: FileTree, root: str, split: str) -> str:
    in_images = joined(root, "images")
    return joined(in_images, split) if split in tree.folders(in_images) else joined(root, split)


def _check_size(image: CocoImage, size: Tuple[int, int], where: str) -> None:
    if size != (image.width, image.height):
        raise GluonAFFError(
            f"{where} is {size[0]}x{size[1]}, the annotations are for {image.width}x{image.height}: "
            "it is another image or was resized, get the original"
        )


def _fetch_annotations(root: Path) -> None:
    def verify(path: Path) -> None:
        if not zipfile.is_zipfile(path):
            raise GluonAFFError(f"{path.name} is not a whole zip archive")

    download(f"{HOME}annotations/{_ARCHIVE}", root / "annotations" / _ARCHIVE, verify=verify)


def _fetch_images(images: List[CocoImage], folder: Path, split: str) -> None:
    """What is there already stays; a break leaves the rest for the next time."""

    def fetch(image: CocoImage) -> None:
        def verify(path: Path) -> None:
            _check_size(image, open_image(path.read_bytes(), path.name).size, path.name)

        url = image.url or f"{HOME}{split}/{image.file}"
        if not url.startswith(("http://", "https://")):
            raise GluonAFFError(f"the annotations give {url!r} as the place of {image.file}: expected http or https")
        download(url, folder / image.file, verify=verify)

    fetched = prefetch(fetch, images, _CONNECTIONS, 2 * _CONNECTIONS, "download")
    for _ in console.progress(fetched, total=len(images), label=f"images of {split}", unit="image"):
        pass
