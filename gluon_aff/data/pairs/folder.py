"""Folders and zips of images and masks: any set in that layout, and SIRST.

    <root>/<split>.txt      one id a line
    <root>/images/<id>.*    png, jpg, bmp or tif, in any mode
    <root>/masks/<id>.*     grey, 0 and 1 or 0 and 255; of another size than the image, it is resized and named
    <root>/classes.txt      with masks of several classes: their names in the order of their numbers, if they have any

SIRST, single-frame infrared small targets (Dai et al., "Asymmetric Contextual Modulation", WACV 2021), calls its
masks ``<id>_pixels0.png`` and keeps its lists in ``idx_427/``. A folder without any list can hold out a share of its
images as "val".
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from PIL import Image

from ...errors import GluonAFFError, UsageError
from ...runtime.threads import usable_cores
from ...utils import console
from ...utils.prefetch import prefetch
from ..decoding import IGNORED, decode_image, decode_mask, open_image
from ..trees import FileTree, joined, open_file_tree
from ..validation_split import OFFER, split_off
from .pair_set import Pair, PairSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


_CLASSES = "classes.txt"


class PairLayout(NamedTuple):
    """How a set names its files."""

    name: str
    title: str
    mask_ending: str = ""
    lists: Tuple[str, ...] = ("",)


FOLDER = PairLayout("folder", "an image and mask folder")
SIRST = PairLayout("sirst", "SIRST", mask_ending="_pixels0", lists=("", "idx_427"))


def load_pair_folder(
    path: Path,
    split: str,
    layout: PairLayout = FOLDER,
    mask_threshold: Optional[int] = None,
    val_fraction: Optional[float] = None,
    seed: int = 0,
    classes: int = 1,
) -> PairSet:
    """The pairs that ``<split>.txt`` lists; a folder around everything is skipped.

    With ``val_fraction`` a folder without lists has the splits "train" and "val": all its images, of which that share
    is "val", drawn by ``seed`` (see `split_off`).

    With ``classes`` above 1 masks hold class numbers, see `decode_mask`.

    Masks and image sizes are checked before this returns, so that nothing is wrong only later. Images without
    foreground are counted, and masks of another size than their image are named, on standard error. Raises
    GluonAFFError naming the file at fault, UsageError for a split without list, or a fraction of a folder with lists.
    """
    tree = open_file_tree(path)
    files = _PairFiles(tree, _root(tree, layout), layout, mask_threshold, classes)
    names = files.listed(split) if val_fraction is None else files.drawn(split, val_fraction, seed)
    foreground = files.check(names, label=f"checking {split}")
    without = sum(share == 0 for share in foreground)
    if without:
        print(f"note: {without} of {len(names)} masks of {layout.name} {split} hold no foreground", file=sys.stderr)
    note = f"{layout.name} {split}: {len(names)} images, {100 * float(np.mean(foreground)):.2g} % foreground"
    return PairSet(
        layout.name,
        str(path),
        names,
        files.read,
        note,
        classes=classes,
        class_names=files.class_names(),
        foreground=foreground,
    )


def _is_list(file: str) -> bool:
    return file.endswith(".txt") and file != _CLASSES


def _root(tree: FileTree, layout: PairLayout) -> str:
    places = [place for place in ("", *tree.folders()) if {"images", "masks"} <= set(tree.folders(place))]
    if "" in places:
        return ""
    if len(places) != 1:
        found = f"several: {', '.join(places)}" if places else ", ".join(tree.folders() + tree.files()) or "nothing"
        raise GluonAFFError(
            f"{tree.path} is not {layout.title}: expected images/, masks/ and <split>.txt in it, found "
            f"{found[:200]}: give the folder or zip that holds them"
        )
    return places[0]


class _PairFiles:
    """Which file belongs to which id."""

    def __init__(
        self, tree: FileTree, root: str, layout: PairLayout, mask_threshold: Optional[int], classes: int
    ) -> None:
        self._tree = tree
        self._root = root
        self._layout = layout
        self._threshold = mask_threshold
        self._classes = classes
        self._images = self._by_stem("images")
        self._masks = self._by_stem("masks")

    def listed(self, split: str) -> List[str]:
        """The ids of a split, in the order of its list, all of them with an image and a mask."""
        lists = [joined(self._root, folder, f"{split}.txt") for folder in self._layout.lists]
        name = next((name for name in lists if self._tree.exists(name)), None)
        if name is None:
            found = self._lists()
            raise UsageError(
                f"{self._layout.name} has no split {split!r}: there is no {self._tree.where(lists[-1])}, "
                + (f"choose one of {', '.join(found)}" if found else f"write one with one id per line; or {OFFER}")
            )
        where = self._tree.where(name)
        try:
            lines = self._tree.read(name).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise GluonAFFError(f"{where} is not text: expected one id per line") from error
        ids = [self._id(line.strip()) for line in lines if line.strip()]
        if not ids:
            raise GluonAFFError(f"{where} is empty: expected one id per line")
        twice = min((each for each, count in Counter(ids).items() if count > 1), default=None)
        if twice is not None:
            raise GluonAFFError(f"{where} lists {twice} more than once: every image counts once")
        for each in ids:
            self._file(self._images, "images", each, where)
            self._file(self._masks, "masks", each + self._layout.mask_ending, where)
        return ids

    def drawn(self, split: str, fraction: float, seed: int) -> List[str]:
        """The ids of one part of all images, sorted. Raises UsageError where there are lists."""
        if self._lists():
            raise UsageError(
                f"--val-fraction {fraction:g}: {self._tree.where(self._root)} has lists ({', '.join(self._lists())}), "
                "leave it out"
            )
        if split not in ("train", "val"):
            raise UsageError(f"no split {split!r}: with --val-fraction there are train and val")
        where = self._tree.where(joined(self._root, "images"))
        for each in sorted(self._images):
            self._file(self._images, "images", each, where)
            self._file(self._masks, "masks", each + self._layout.mask_ending, where)
        names = {self._names(each)[0]: each for each in sorted(self._images)}
        parts = split_off(self._tree, {"": list(names)}, fraction, seed)
        for note in parts.notes if split == "train" else ():
            print(f"note: {note}", file=sys.stderr)
        return [names[file] for file in (parts.train if split == "train" else parts.val)[""]]

    def _lists(self) -> List[str]:
        """Names of the splits that have a list."""
        places = [joined(self._root, folder) for folder in self._layout.lists]
        return [file[:-4] for place in places for file in self._tree.files(place) if _is_list(file)]

    def class_names(self) -> Optional[List[str]]:
        """What classes.txt says, where there are several classes. Raises GluonAFFError for another number of names."""
        name = joined(self._root, _CLASSES)
        if self._classes == 1 or not self._tree.exists(name):
            return None
        lines = self._tree.read(name).decode("utf-8-sig", "replace").splitlines()
        found = [line.strip() for line in lines if line.strip()]
        if len(found) != self._classes:
            raise GluonAFFError(
                f"{self._tree.where(name)} has {len(found)} names for {self._classes} classes: expected one a line, in "
                "the order of their numbers, the background's first"
            )
        return found

    def check(self, names: List[str], label: str) -> List[float]:
        """The share of foreground in each mask."""
        cores = usable_cores()
        shares = prefetch(self._check, names, cores, 4 * cores, "check")
        return list(console.progress(shares, total=len(names), label=label, unit="mask"))

    def read(self, name: str) -> Pair:
        image, mask = self._names(name)
        pixels = decode_image(self._tree.read(image), self._tree.where(image))
        labels = decode_mask(self._tree.read(mask), self._tree.where(mask), self._threshold, self._classes)
        if labels.shape != pixels.shape[:2]:
            size = pixels.shape[1], pixels.shape[0]
            labels = np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        return pixels, labels

    def _check(self, name: str) -> float:
        image, mask = self._names(name)
        width, height = open_image(self._tree.read(image), self._tree.where(image)).size
        labels = decode_mask(self._tree.read(mask), self._tree.where(mask), self._threshold, self._classes)
        if labels.shape != (height, width):
            print(
                f"note: {self._tree.where(image)} is {width}x{height}, but its mask {mask.rsplit('/', 1)[-1]} "
                f"{labels.shape[1]}x{labels.shape[0]}; the mask is resized to the image",
                file=sys.stderr,
            )
        return float(((labels > 0) & ((labels != IGNORED) | (self._classes == 1))).mean())

    def _names(self, name: str) -> Tuple[str, str]:
        mask = self._masks[name + self._layout.mask_ending]
        return joined(self._root, "images", self._images[name][0]), joined(self._root, "masks", mask[0])

    def _by_stem(self, folder: str) -> Dict[str, List[str]]:
        files: Dict[str, List[str]] = {}
        for file in self._tree.files(joined(self._root, folder)):
            if file.lower().endswith(SUFFIXES):
                files.setdefault(file.rsplit(".", 1)[0], []).append(file)
        return files

    def _id(self, line: str) -> str:
        """Lists of file names are understood, too."""
        stem = line.rsplit(".", 1)[0]
        return stem if line not in self._images and line.lower().endswith(SUFFIXES) else line

    def _file(self, files: Dict[str, List[str]], folder: str, stem: str, listed_in: str) -> None:
        found = files.get(stem, [])
        place = self._tree.where(joined(self._root, folder))
        if not found:
            raise GluonAFFError(f"{listed_in} lists {stem}, but {place} has no {stem}.png (or jpg, bmp, tif)")
        if len(found) > 1:
            raise GluonAFFError(f"{place} has {' and '.join(found)}: which is it? Keep one")
