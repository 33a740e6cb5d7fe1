"""The register of segmentation data sets: images with masks of a foreground."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from ...errors import GluonAFFError, UsageError
from ...runtime.home import mxnet_home
from ...utils.files import PathLike
from .coco import load_coco
from .folder import SIRST, load_pair_folder
from .pair_set import PairSet
from .shapes import load_shapes


class PairRequest(NamedTuple):
    """What is asked of a data set: a split, its place, and the other arguments of `load_pair_set`."""

    split: str
    place: Path
    download: bool
    category: str
    mask_threshold: Optional[int]
    val_fraction: Optional[float] = None
    seed: int = 0
    classes: int = 1


@dataclass(frozen=True)
class PairDataset:
    """One data set and every fact about it.

    Attributes
    ----------
    name : str
        As ``--dataset`` has it.
    load : callable
        From a `PairRequest` to a `PairSet`.
    splits : (str, str)
        What one trains and validates on where nothing else is said.
    size_limits : (float, float) or None
        Areas in pixels at which medium and large objects begin, where they are not COCO's.
    recipe : str or None
        The recipe that comes with it by itself.
    home : bool
        Whether it is looked for in ``$MXNET_HOME/datasets/<name>`` where no place is given.
    has_place : bool
        Whether it has a place; a drawn set has none.
    missing : str
        What to do where it is not found.
    options : tuple of str
        Which of "download", "category", "mask_threshold", "val_fraction" and "classes" it takes.
    """

    name: str
    load: Callable[[PairRequest], PairSet]
    splits: Tuple[str, str] = ("train", "val")
    size_limits: Optional[Tuple[float, float]] = None
    recipe: Optional[str] = None
    home: bool = False
    has_place: bool = True
    missing: str = "there is no such file or folder"
    options: Tuple[str, ...] = ()


_DATASETS: Dict[str, PairDataset] = {}


def register_pair_dataset(dataset: PairDataset) -> PairDataset:
    """Make a data set known under its name. Raises UsageError when the name is taken."""
    if dataset.name in _DATASETS:
        raise UsageError(f"segmentation data set {dataset.name!r} is registered already")
    _DATASETS[dataset.name] = dataset
    return dataset


def list_pair_datasets() -> List[str]:
    """Names of the data sets, in the order they were registered."""
    return list(_DATASETS)


def pair_dataset(name: str) -> PairDataset:
    """The record of a name; the paper's "stopsign" is COCO. Raises UsageError for an unknown one."""
    name = "coco" if name == "stopsign" else name
    if name not in _DATASETS:
        raise UsageError(f"no segmentation data set {name!r}: choose one of {', '.join(_DATASETS)}")
    return _DATASETS[name]


def load_pair_set(
    dataset: str,
    split: str,
    place: Optional[PathLike] = None,
    *,
    download: bool = False,
    category: str = "stop sign",
    mask_threshold: Optional[int] = None,
    val_fraction: Optional[float] = None,
    seed: int = 0,
    classes: int = 1,
) -> PairSet:
    """Read a split of a segmentation data set.

    Parameters
    ----------
    dataset : str
        "sirst" or "folder" (a folder or zip of images, masks and lists, see `folder`), "coco" (one category of COCO
        2017, see `coco`; also called "stopsign"), "shapes" (drawn, see `shapes`), or one of your own.
    split : str
        "train" or "val"; with lists, the name of any.
    place : path, optional
        The folder or zip; "sirst" and "coco" without one are looked for in ``$MXNET_HOME/datasets/<dataset>``.
    download : bool
        Fetch what is missing of COCO.
    category : str
        What to find in COCO's images.
    mask_threshold : int, optional
        In a folder of masks with other values than 0 and 1 or 255, count those from here on as foreground.
    val_fraction : float, optional
        Of a folder without lists, hold out this share of the images as "val", drawn by ``seed``.
    classes : int
        1: foreground and background. K: masks with as many class numbers, 0 for the background.

    Raises
    ------
    UsageError
        For wrong arguments.
    GluonAFFError
        For data that is missing or damaged.
    """
    record = pair_dataset(dataset)
    if download and "download" not in record.options:
        raise UsageError(f"{record.name} cannot be downloaded, only coco can: leave --download out")
    if mask_threshold is not None and "mask_threshold" not in record.options:
        raise UsageError(f"a mask threshold is for data sets of kind folder, not for {record.name}: leave it out")
    if val_fraction is not None and "val_fraction" not in record.options:
        raise UsageError(f"--val-fraction {val_fraction:g}: {record.name} has splits of its own, leave it out")
    if classes > 1 and "classes" not in record.options:
        raise UsageError(f"--classes {classes}: {record.name} marks foreground and background, leave it out")
    if classes > 1 and mask_threshold is not None:
        raise UsageError("--mask-threshold makes foreground and background of a mask: leave it out, or --classes")
    if place is not None and not record.has_place:
        raise UsageError(f"{record.name} are drawn and have no path: leave the data directory out")
    if place is None and record.has_place and not record.home:
        raise UsageError("a folder of images and masks needs a path: give the folder or zip that holds them")
    path = mxnet_home() / "datasets" / record.name if place is None else Path(place).expanduser()
    if record.has_place and not path.exists() and not download:
        raise UsageError(f"no {record.name} at {path}: {record.missing}")
    try:
        return record.load(PairRequest(split, path, download, category, mask_threshold, val_fraction, seed, classes))
    except OSError as error:
        raise GluonAFFError(f"cannot read {error.filename or path}: {error.strerror or error}") from error


register_pair_dataset(
    PairDataset(
        "sirst",
        lambda request: load_pair_folder(request.place, request.split, SIRST),
        splits=("trainval", "test"),
        size_limits=(16, 64),  # COCO's would call every target small
        home=True,
        missing="get it from https://github.com/YimianDai/sirst and give the folder or zip as data directory",
    )
)
register_pair_dataset(
    PairDataset(
        "coco",
        lambda request: load_coco(request.place, request.split, request.category, fetch=request.download),
        home=True,
        missing="give the folder or zip with train2017/ and annotations/ as data directory, or --download",
        options=("download", "category"),
    )
)
register_pair_dataset(
    PairDataset(
        "folder",
        lambda request: load_pair_folder(
            request.place,
            request.split,
            mask_threshold=request.mask_threshold,
            val_fraction=request.val_fraction,
            seed=request.seed,
            classes=request.classes,
        ),
        options=("mask_threshold", "val_fraction", "classes"),
    )
)
register_pair_dataset(
    PairDataset("shapes", lambda request: load_shapes(request.split), recipe="quick", has_place=False)
)
