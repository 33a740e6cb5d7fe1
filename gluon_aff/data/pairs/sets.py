"""One door to every segmentation data set."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ...errors import GluonAFFError, UsageError
from ...runtime.home import mxnet_home
from ...utils.files import PathLike
from .coco import load_coco
from .folder import SIRST, load_pair_folder
from .pair_set import PairSet
from .shapes import load_shapes

SEGMENTATION_DATASETS = ("sirst", "coco", "folder", "shapes")

_ADVICE = {
    "sirst": "get it from https://github.com/YimianDai/sirst and give the folder or zip as data directory",
    "coco": "give the folder or zip with train2017/ and annotations/ as data directory, or --download",
    "folder": "there is no such file or folder",
}


def load_pair_set(
    dataset: str,
    split: str,
    place: Optional[PathLike] = None,
    *,
    download: bool = False,
    category: str = "stop sign",
    mask_threshold: Optional[int] = None,
) -> PairSet:
    """Read a split of a segmentation data set.

    dataset: 'sirst' or 'folder' (a folder or zip of images, masks and lists, see `pair_folder`), 'coco' (one
    ``category`` of COCO 2017, see `coco`; also called 'stopsign') or 'shapes' (drawn, see `shapes`). split: 'train' or
    'val'; with lists, the name of any. place: the folder or zip; 'sirst' and 'coco' without one are looked for in
    ``$MXNET_HOME/datasets/<dataset>``. download: fetch what is missing of COCO. mask_threshold: in a folder of masks
    with other values than 0 and 1 or 255, count those from here on as foreground.

    Raises UsageError for wrong arguments and GluonAFFError for data that is missing or damaged.
    """
    dataset = "coco" if dataset == "stopsign" else dataset
    if dataset not in SEGMENTATION_DATASETS:
        raise UsageError(f"no segmentation data set {dataset!r}: choose one of {', '.join(SEGMENTATION_DATASETS)}")
    if download and dataset != "coco":
        raise UsageError(f"{dataset} cannot be downloaded, only coco can: leave --download out")
    if mask_threshold is not None and dataset != "folder":
        raise UsageError(f"a mask threshold is for data sets of kind folder, not for {dataset}: leave it out")
    if dataset == "shapes":
        if place is not None:
            raise UsageError("shapes are drawn and have no place: leave the data directory out")
        return load_shapes(split)
    if place is None and dataset == "folder":
        raise UsageError("a folder of images and masks needs its place: give the folder or zip that holds them")
    path = mxnet_home() / "datasets" / dataset if place is None else Path(place).expanduser()
    if not path.exists() and not download:
        raise UsageError(f"no {dataset} at {path}: {_ADVICE[dataset]}")
    try:
        if dataset == "coco":
            return load_coco(path, split, category, fetch=download)
        if dataset == "folder":
            return load_pair_folder(path, split, mask_threshold=mask_threshold)
        return load_pair_folder(path, split, SIRST)
    except OSError as error:
        raise GluonAFFError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
