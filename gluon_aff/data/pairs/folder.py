"""Folders and zips of images and masks: any set in that layout, and SIRST.

    <root>/<split>.txt      one id a line
    <root>/images/<id>.*    png, jpg, bmp or tif, in any mode
    <root>/masks/<id>.*     the same size, grey, 0 and 1 or 0 and 255

SIRST, single-frame infrared small targets (Dai et al., "Asymmetric Contextual Modulation", WACV 2021), calls its
masks ``<id>_pixels0.png`` and keeps its lists in ``idx_427/``.
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
from ..decoding import decode_image, decode_mask, open_image
from ..trees import FileTree, joined, open_file_tree
from .pair_set import Pair, PairSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class PairLayout(NamedTuple):
    """How a set names its files; ``resize_masks`` makes a mask of another size fit instead of refusing it."""

    name: str
    title: str
    mask_ending: str = ""
    lists: Tuple[str, ...] = ("",)
    resize_masks: bool = False


FOLDER = PairLayout("folder", "an image and mask folder")
SIRST = PairLayout("sirst", "SIRST", mask_ending="_pixels0", lists=("", "idx_427"), resize_masks=True)


def load_pair_folder(
    path: Path, split: str, layout: PairLayout = FOLDER, mask_threshold: Optional[int] = None
) -> PairSet:
    """The pairs that ``<split>.txt`` lists; a folder around everything is skipped.

    Masks and image sizes are checked before this returns, so that nothing is wrong only later. Images without
    foreground are counted, and with SIRST the pair whose mask has another size than its image is named, on standard
    error. Raises GluonAFFError naming the file at fault, UsageError for a split without list.
    """
    tree = open_file_tree(path)
    files = _PairFiles(tree, _root(tree, layout), layout, mask_threshold)
    names = files.listed(split)
    foreground = files.check(names, label=f"checking {split}")
    without = sum(share == 0 for share in foreground)
    if without:
        print(f"note: {without} of {len(names)} masks of {layout.name} {split} hold no foreground", file=sys.stderr)
    note = f"{layout.name} {split}: {len(names)} images, {100 * float(np.mean(foreground)):.2g} % foreground"
    return PairSet(layout.name, str(path), names, files.read, note)


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

    def __init__(self, tree: FileTree, root: str, layout: PairLayout, mask_threshold: Optional[int]) -> None:
        self._tree = tree
        self._root = root
        self._layout = layout
        self._threshold = mask_threshold
        self._images = self._by_stem("images")
        self._masks = self._by_stem("masks")

    def listed(self, split: str) -> List[str]:
        """The ids of a split, in the order of its list, all of them with an image and a mask."""
        lists = [joined(self._root, folder, f"{split}.txt") for folder in self._layout.lists]
        name = next((name for name in lists if self._tree.exists(name)), None)
        if name is None:
            places = [joined(self._root, folder) for folder in self._layout.lists]
            found = [file[:-4] for place in places for file in self._tree.files(place) if file.endswith(".txt")]
            raise UsageError(
                f"{self._layout.name} has no split {split!r}: there is no {self._tree.where(lists[-1])}, "
                + (f"choose one of {', '.join(found)}" if found else "write one with one id per line")
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

    def check(self, names: List[str], label: str) -> List[float]:
        """The share of foreground in each mask."""
        cores = usable_cores()
        shares = prefetch(self._check, names, cores, 4 * cores, "check")
        return list(console.progress(shares, total=len(names), label=label, unit="mask"))

    def read(self, name: str) -> Pair:
        image, mask = self._names(name)
        pixels = decode_image(self._tree.read(image), self._tree.where(image))
        labels = decode_mask(self._tree.read(mask), self._tree.where(mask), self._threshold)
        if labels.shape != pixels.shape[:2]:
            size = pixels.shape[1], pixels.shape[0]
            labels = np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        return pixels, labels

    def _check(self, name: str) -> float:
        image, mask = self._names(name)
        width, height = open_image(self._tree.read(image), self._tree.where(image)).size
        labels = decode_mask(self._tree.read(mask), self._tree.where(mask), self._threshold)
        if labels.shape != (height, width):
            found = (
                f"{self._tree.where(image)} is {width}x{height}, but its mask {mask.rsplit('/', 1)[-1]} "
                f"{labels.shape[1]}x{labels.shape[0]}"
            )
            if not self._layout.resize_masks:
                raise GluonAFFError(f"{found}: make them equal, or take the pair out of the list")
            print(f"note: {found}; the mask is resized to the image", file=sys.stderr)
        return float(labels.mean())

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
