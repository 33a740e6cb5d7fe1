"""The register of data sets: labelled images held in memory, and images with masks; and the names of their classes.

A data set states every fact about itself in one record. Another one is added from outside the package:

>>> from gluon_aff.data import ImageDataset, ImageSet, register_dataset
>>> def load(request):  # request: split "train" or "test", place, labels, resize
...     images, labels = my_arrays(request.split, request.place)  # uint8 (N, H, W, 3), int64 (N,)
...     return ImageSet(images, labels, ("cat", "dog"), name="mine", source=str(request.place))
>>> register_dataset(ImageDataset("mine", load))

Then ``--dataset mine`` trains, evaluates and explains. One with ``masks=True`` returns a `PairSet`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError, near_matches
from ..facts import imagenet_classes
from ..runtime import mxnet_home
from ..utils.arguments import label_kind
from ..utils.files import PathLike
from .cifar import CLASS_NAMES, load_cifar
from .coco import load_coco
from .folder import folder_classes, has_val, load_folder
from .image_set import ImageSet, resized
from .pairs import SIRST, PairSet, is_undivided, load_pair_folder
from .shapes import load_shapes

SPLITS = ("train", "test")  # of labelled images
DIGITS_SIZE = 32


class ImageRequest(NamedTuple):
    """What is asked of a data set, see `load_image_set` and `load_pair_set`.

    ``place`` is the Path that the user names, or the usual one, or None. ``labels`` and ``resize`` are for labelled
    images; a set may leave it to the register to resize. ``category``, ``mask_threshold``, ``classes`` and
    ``mask_ignore`` are for those with masks.
    """

    split: str
    place: Any = None
    download: bool = False
    val_fraction: Optional[float] = None
    seed: int = 0
    labels: str = "fine"
    resize: Optional[int] = None
    category: str = "stop sign"
    mask_threshold: Optional[int] = None
    classes: int = 1
    mask_ignore: Optional[int] = None


@dataclass(frozen=True)
class ImageDataset:
    """One data set and every fact about it.

    Attributes
    ----------
    name : str
        As ``--dataset`` has it.
    load : callable
        From a `ImageRequest` to an `ImageSet`, or to a `PairSet` where there are masks.
    masks : bool
        Whether its images have masks.
    official : mapping
        Images of the splits, where these are fixed.
    head : int, optional
        Outputs of a network for it where that is not the number of its classes.
    classes : mapping, optional
        Class names for each kind of labels, where they do not depend on the place; the first kind is the default.
    names_at : callable, optional
        From a place to the class names there, where they do depend on it.
    has_val : callable, optional
        Whether there is a third split at a place, "val", by which epochs are chosen.
    size : int, optional
        Width and height of its images, in pixels; None where the files decide.
    recipe : str, optional
        The recipe that comes with it by itself.
    comes_with : str, optional
        The package that brings it; such a set has no place.
    needs_place, home : bool
        Whether the user must name its place; whether it is ``$MXNET_HOME/datasets/<name>`` where none is given.
    missing : str
        What to do where it is not found.
    options : tuple of str
        Which of "download", "category", "mask_threshold", "mask_ignore", "val_fraction" and "classes" it takes.
    splits : (str, str)
        With masks: what one trains and validates on where nothing else is said.
    size_limits : (float, float), optional
        With masks: areas in pixels at which medium and large objects begin, where they are not COCO's.
    undivided : callable, optional
        With masks: whether a place has no splits but "all".
    """

    name: str
    load: Callable[[ImageRequest], Any]
    masks: bool = False
    official: Mapping[str, int] = field(default_factory=dict)
    head: Optional[int] = None
    classes: Optional[Mapping[str, Sequence[str]]] = None
    names_at: Optional[Callable[[Path], Sequence[str]]] = None
    has_val: Optional[Callable[[Path], bool]] = None
    size: Optional[int] = None
    recipe: Optional[str] = None
    comes_with: Optional[str] = None
    needs_place: bool = False
    home: bool = False
    missing: str = "there is no such file or folder"
    options: Tuple[str, ...] = ()
    splits: Tuple[str, str] = ("train", "val")
    size_limits: Optional[Tuple[float, float]] = None
    undivided: Optional[Callable[[Path], bool]] = None

    def class_names(self, labels: Optional[str] = None, place: Optional[PathLike] = None) -> Optional[Sequence[str]]:
        """Return the names of its classes, as far as they are known without reading the images."""
        if self.classes is not None:
            return self.classes[labels or next(iter(self.classes))]
        return self.names_at(Path(place).expanduser()) if self.names_at and place else None


_DATASETS: Dict[Tuple[str, bool], ImageDataset] = {}  # by name, and whether there are masks


def register_dataset(dataset: ImageDataset) -> ImageDataset:
    """Make a data set known under its name. Raises UsageError when the name is taken."""
    key = dataset.name, dataset.masks
    if key in _DATASETS:
        raise UsageError(f"data set {dataset.name!r} is registered already")
    _DATASETS[key] = dataset
    return dataset


def list_datasets(masks: bool = False) -> List[str]:
    """Return the names of the data sets of one kind, in the order they were registered."""
    return [name for name, has_masks in _DATASETS if has_masks == masks]


def find_dataset(name: str, masks: bool = False) -> ImageDataset:
    """Return the record of a name; the paper's "stopsign" is COCO. Raises UsageError for an unknown one."""
    name = "coco" if masks and name == "stopsign" else name
    if (name, masks) not in _DATASETS:
        kind = "segmentation data set" if masks else "data set"
        raise UsageError(f"no {kind} {name!r}: choose one of {', '.join(list_datasets(masks))}")
    return _DATASETS[name, masks]


def load_image_set(
    dataset: str,
    split: str,
    data_dir: Optional[PathLike] = None,
    labels: str = "fine",
    resize: Optional[int] = None,
    download: bool = True,
    val_fraction: Optional[float] = None,
    seed: int = 0,
) -> ImageSet:
    """Read the "train" or "test" split of a registered data set, or "val" of one that can have it.

    Parameters
    ----------
    dataset : str
        "cifar10" or "cifar100" (official archives, see `cifar`), "digits" (comes with scikit-learn), "folder" (images
        in a folder or zip, see `folder`), or one of your own.
    data_dir : path, optional
        Its folder or file. CIFAR without one is looked for in ``$MXNET_HOME/datasets/<dataset>``.
    labels : str
        "fine" or, for CIFAR-100, "coarse" (20, also called "super").
    resize : int, optional
        Make the images this many pixels wide and high.
    download : bool
        Fetch CIFAR from its home when it is missing.
    val_fraction : float, optional
        Of a folder without test/, hold out this share of every class as test images, drawn by ``seed``.

    Raises
    ------
    UsageError, GluonAFFError
        For wrong arguments; for data that is missing or damaged.
    """
    record = find_dataset(dataset)
    if split not in SPLITS and not (split == "val" and record.has_val):
        raise UsageError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
    kinds = list(record.classes or ["fine"])
    labels = labels if labels in kinds else label_kind(labels)
    if labels not in kinds and len(kinds) == 1:
        raise UsageError(f"labels {labels!r} with {dataset}: only cifar100 has coarse labels")
    if resize is not None and resize < 1:
        raise UsageError(f"resize to {resize} pixels: expected at least 1")
    request = ImageRequest(split, data_dir, download, val_fraction, seed, labels, resize)
    found: ImageSet = _load(record, request)
    return found if resize is None else replace(found, images=resized(found.images, resize))


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
    mask_ignore: Optional[int] = None,
) -> PairSet:
    """Read a split of a segmentation data set.

    Parameters
    ----------
    dataset : str
        "sirst" or "folder" (a folder or zip of images, masks and lists, see `pairs`), "coco" (one category of COCO
        2017, see `coco`; also called "stopsign"), "shapes" (drawn, see `shapes`), or one of your own.
    split : str
        "train" or "val"; with lists, the name of any, ``folder/name`` or the path of a text file of ids.
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
    mask_ignore : int, optional
        Pixels of a folder's masks that have this value count neither in a loss nor in a score.

    Raises
    ------
    UsageError, GluonAFFError
        For wrong arguments; for data that is missing or damaged.
    """
    record = find_dataset(dataset, masks=True)
    if download and "download" not in record.options:
        raise UsageError(f"{record.name} cannot be downloaded, only coco can: leave `download` out")
    if mask_threshold is not None and "mask_threshold" not in record.options:
        raise UsageError(f"a mask threshold is for data sets of kind folder, not for {record.name}: leave it out")
    if mask_ignore is not None and "mask_ignore" not in record.options:
        raise UsageError(f"`mask_ignore` is for data sets of kind folder, not for {record.name}: leave it out")
    if classes > 1 and "classes" not in record.options:
        raise UsageError(f"`classes` {classes}: {record.name} marks foreground and background, leave it out")
    if classes > 1 and mask_threshold is not None:
        raise UsageError("`mask_threshold` makes foreground and background of a mask: leave it out, or `classes`")
    request = ImageRequest(
        *(split, place, download, val_fraction, seed),
        category=category,
        mask_threshold=mask_threshold,
        classes=classes,
        mask_ignore=mask_ignore,
    )
    return _load(record, request)


def _load(record: ImageDataset, request: ImageRequest) -> Any:
    """Load what is asked for from the place that is given, or the usual one."""
    path = None if request.place is None else Path(request.place).expanduser()
    if request.val_fraction is not None and "val_fraction" not in record.options:
        part = "splits" if record.masks else "test images"
        raise UsageError(f"`val_fraction` {request.val_fraction:g}: {record.name} has {part} of its own, leave it out")
    if path is not None and record.comes_with:
        raise UsageError(f"the {record.name} come with {record.comes_with} and have no data directory: leave it out")
    if path is None and record.needs_place:
        raise UsageError(f"the data set {record.name} needs a path: give the folder or zip that holds it as `data_dir`")
    if path is None and record.home:
        path = mxnet_home() / "datasets" / record.name
    if path is not None and not path.exists() and not (request.download and "download" in record.options):
        raise UsageError(f"no data at {path}: {record.missing}")
    try:
        return record.load(request._replace(place=path))
    except OSError as error:
        raise GluonAFFError(f"cannot read {error.filename or path}: {error.strerror or error}") from error


def load_digits(split: str, size: int = DIGITS_SIZE) -> ImageSet:
    """scikit-learn's digits, 1797 real images of 8x8 in 17 greys, as RGB of ``size`` x ``size`` (bilinear).

    Of each class a fifth (rounded) is the test split, 359 images of 1797, drawn with NumPy's legacy generator and
    seed 0, whose numbers never change. Raises GluonAFFError without scikit-learn.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise GluonAFFError(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error

    digits = datasets.load_digits()
    labels = digits.target.astype(np.int64)
    random = np.random.RandomState(0)
    in_test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        where = np.flatnonzero(labels == label)
        in_test[random.permutation(where)[: round(len(where) / 5)]] = True
    chosen = in_test if split == "test" else ~in_test
    grey = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    return ImageSet(
        images=resized(np.repeat(grey[..., None], 3, axis=3), size),
        labels=labels[chosen],
        classes=tuple(str(digit) for digit in range(10)),
        name="digits",
        source="sklearn.datasets.load_digits",
    )


def _cifar(name: str, **facts: Any) -> ImageDataset:
    return ImageDataset(
        name,
        lambda request: load_cifar(name, request.split, request.place, request.labels, request.download),
        official={"train": 50000, "test": 10000},
        classes=CLASS_NAMES[name],
        size=32,
        **facts,
    )


for _record in (
    _cifar("cifar10"),
    # 100 outputs also on the 20 coarse labels, as published
    _cifar("cifar100", head=100),
    ImageDataset(
        "digits",
        lambda request: load_digits(request.split, request.resize or DIGITS_SIZE),
        classes={"fine": tuple("0123456789")},
        size=DIGITS_SIZE,
        recipe="quick",
        comes_with="scikit-learn",
    ),
    ImageDataset(
        "folder",
        lambda request: load_folder(request.place, request.split, request.resize, request.val_fraction, request.seed),
        names_at=folder_classes,
        has_val=has_val,
        needs_place=True,
        options=("val_fraction",),
    ),
    ImageDataset(
        "sirst",
        lambda request: load_pair_folder(request.place, request.split, SIRST),
        masks=True,
        splits=("trainval", "test"),
        size_limits=(16, 64),  # COCO's would call every target small
        undivided=is_undivided,
        home=True,
        missing="get it from https://github.com/YimianDai/sirst and give the folder or zip as data directory",
    ),
    ImageDataset(
        "coco",
        lambda request: load_coco(request.place, request.split, request.category, request.download),
        masks=True,
        home=True,
        missing="give the folder or zip with train2017/ and annotations/ as data directory, or `download`",
        options=("download", "category"),
    ),
    ImageDataset(
        "folder",
        lambda request: load_pair_folder(
            request.place,
            request.split,
            mask_threshold=request.mask_threshold,
            val_fraction=request.val_fraction,
            seed=request.seed,
            classes=request.classes,
            mask_ignore=request.mask_ignore,
        ),
        masks=True,
        needs_place=True,
        options=("mask_threshold", "mask_ignore", "val_fraction", "classes"),
        undivided=is_undivided,
    ),
    ImageDataset(
        "shapes", lambda request: load_shapes(request.split), masks=True, recipe="quick", comes_with="gluon_aff"
    ),
):
    register_dataset(_record)


# Names of classes ----------------------------------------------------------------------------------------------------


class ClassNames:
    """Number <-> name. ``synonyms`` are other names of a class, such as ImageNet's wnids; they need not be shown."""

    def __init__(self, names: Sequence[str], synonyms: Optional[Mapping[str, int]] = None) -> None:
        self.names = tuple(names)
        self._numbers: Dict[str, int] = {name: number for number, name in reversed(list(enumerate(self.names)))}
        self._numbers.update(synonyms or {})

    def __getitem__(self, number: int) -> str:
        return self.names[number] if number < len(self.names) else f"class {number}"

    def find(self, name: str) -> Optional[int]:
        """The number of a name or synonym, None when it is neither."""
        return self._numbers.get(name)

    def number(self, text: str, outputs: int) -> int:
        """What a user means by a number or a name. Raises UsageError with near matches, or the range."""
        found = self.find(text)
        if found is None and text.isdecimal() and len(text) <= 18:
            found = int(text)
        if found is None:
            reason = near_matches(text, self.names) if self.names else f"give a number, 0 to {outputs - 1}"
            raise UsageError(f"no class {text!r}: {reason}")
        if found >= outputs:
            raise UsageError(f"no class {text}: the network has {outputs} (0 to {outputs - 1})")
        return found


def known_classes(known: Mapping[str, Any], outputs: int) -> Optional[ClassNames]:
    """Return the names from what is known of a network's data: ``classes``, else ``dataset``, ``labels`` and ``data``.

    None where they are not known, or not there any more. A set of ImageNet's layout has classes of its own when there
    are not as many ``outputs`` as ImageNet has classes.
    """
    dataset = known.get("dataset")
    if known.get("classes"):
        return names_of_classes(known["classes"])
    if dataset == "imagenet" and outputs == 1000:
        return names_of_classes([name for _, name in imagenet_classes()])
    dataset = "folder" if dataset == "imagenet" else dataset
    if dataset not in list_datasets():
        return None
    found = find_dataset(dataset).class_names(known.get("labels"), known.get("data"))
    return ClassNames(found) if found else None


def names_of_classes(classes: Sequence[str]) -> ClassNames:
    """Return the names of classes in the order of their numbers; ImageNet's, by their wnids or names, go by both."""
    if len(classes) == 1000:
        wnids, names = zip(*imagenet_classes())
        if tuple(classes) in (wnids, names):
            return ClassNames(names, {wnid: number for number, wnid in enumerate(wnids)})
    return ClassNames(classes)
