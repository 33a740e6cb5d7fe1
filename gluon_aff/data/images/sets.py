"""The register of classification data sets of CIFAR's kind, whose images are held in memory.

A data set states every fact about itself in one record. Another one is added from outside the package:

>>> from gluon_aff.data import ImageDataset, ImageSet, register_dataset
>>> def load(request):  # request: split "train" or "test", place, labels, resize
...     images, labels = my_arrays(request.split, request.place)  # uint8 (N, H, W, 3), int64 (N,)
...     return ImageSet(images, labels, ("cat", "dog"), name="mine", source=str(request.place))
>>> register_dataset(ImageDataset("mine", load))

Then ``--dataset mine`` trains, evaluates and explains.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ...errors import GluonAFFError, UsageError, near_matches
from ...utils.files import PathLike
from ..decoding import resized
from .cifar import load_cifar
from .cifar_names import CIFAR10_NAMES, CIFAR100_NAMES, CIFAR100_SUPERCLASSES
from .digits import SIZE as DIGITS_SIZE
from .digits import load_digits
from .folder import folder_classes, load_folder
from .image_set import ImageSet

SPLITS = ("train", "test")


class ImageRequest(NamedTuple):
    """What is asked of a data set.

    Attributes
    ----------
    split : str
        "train" or "test".
    place : Path or None
        The folder or file that the user names.
    labels : str
        One of the data set's kinds of labels.
    resize : int or None
        Width and height wanted, in pixels; images of another size are resized behind `ImageDataset.load`.
    download : bool
        Fetch what is missing, where that can be done.
    val_fraction : float or None
        Of a set that has no test part of its own, the share of the images to hold out as one; ``seed`` draws them.
        Only where `ImageDataset.holds_out`.
    seed : int
    """

    split: str
    place: Optional[Path]
    labels: str
    resize: Optional[int]
    download: bool
    val_fraction: Optional[float] = None
    seed: int = 0


@dataclass(frozen=True)
class ImageDataset:
    """One data set and every fact about it.

    Attributes
    ----------
    name : str
        As ``--dataset`` has it.
    load : callable
        From an `ImageRequest` to an `ImageSet`.
    official : mapping
        Images of the splits, where these are fixed.
    head : int or None
        Outputs of a network for it where that is not the number of its classes.
    classes : mapping or None
        Class names for each kind of labels, where they do not depend on the place; the first kind is the default.
    names_at : callable or None
        From a place to the class names there, where they do depend on it.
    size : int or None
        Width and height of its images, in pixels; None where the files decide.
    recipe : str or None
        The recipe that comes with it by itself.
    comes_with : str or None
        The package that brings it; such a set has no place.
    needs_place : bool
        Whether the user must name its place.
    holds_out : bool
        Whether it can hold out a share of its images where it has no test part, see `ImageRequest.val_fraction`.
    """

    name: str
    load: Callable[[ImageRequest], ImageSet]
    official: Mapping[str, int] = field(default_factory=dict)
    head: Optional[int] = None
    classes: Optional[Mapping[str, Sequence[str]]] = None
    names_at: Optional[Callable[[Path], Sequence[str]]] = None
    size: Optional[int] = None
    recipe: Optional[str] = None
    comes_with: Optional[str] = None
    needs_place: bool = False
    holds_out: bool = False

    @property
    def label_kinds(self) -> List[str]:
        """Kinds of labels, the default first."""
        return list(self.classes or ["fine"])

    def class_names(self, labels: Optional[str] = None, place: Optional[PathLike] = None) -> Optional[Sequence[str]]:
        """Names of its classes, as far as they are known without reading the images."""
        if self.classes is not None:
            return self.classes[labels or self.label_kinds[0]]
        return self.names_at(Path(place).expanduser()) if self.names_at and place else None


_DATASETS: Dict[str, ImageDataset] = {}


def register_dataset(dataset: ImageDataset) -> ImageDataset:
    """Make a data set known under its name. Raises UsageError when the name is taken."""
    if dataset.name in _DATASETS:
        raise UsageError(f"data set {dataset.name!r} is registered already")
    _DATASETS[dataset.name] = dataset
    return dataset


def unregister_dataset(name: str) -> None:
    """Take a data set out of the register again."""
    _DATASETS.pop(name)


def list_datasets() -> List[str]:
    """Names of the data sets, in the order they were registered."""
    return list(_DATASETS)


def image_dataset(name: str) -> ImageDataset:
    """The record of a name. Raises UsageError for an unknown one."""
    if name not in _DATASETS:
        raise UsageError(f"no data set {name!r}: choose one of {', '.join(_DATASETS)}; {near_matches(name, _DATASETS)}")
    return _DATASETS[name]


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
    """Read the "train" or "test" split of a registered data set.

    Parameters
    ----------
    dataset : str
        "cifar10" or "cifar100" (official archives, see `cifar`), "digits" (comes with scikit-learn), "folder" (images
        in a folder or zip, see `folder`), or one of your own.
    data_dir : path, optional
        Its folder or file. CIFAR without one is looked for in ``$MXNET_HOME/datasets/<dataset>``.
    labels : str
        "fine" or, for CIFAR-100, "coarse" (20).
    resize : int, optional
        Make the images this many pixels wide and high.
    download : bool
        Fetch CIFAR from its home when it is missing.
    val_fraction : float, optional
        Of a folder without test/, hold out this share of every class as test images, drawn by ``seed``.

    Raises
    ------
    UsageError
        For wrong arguments.
    GluonAFFError
        For data that is missing or damaged.
    """
    record = image_dataset(dataset)
    if split not in SPLITS:
        raise UsageError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
    if labels not in record.label_kinds and len(record.label_kinds) == 1:
        raise UsageError(f"labels {labels!r} with {dataset}: only cifar100 has coarse labels")
    if val_fraction is not None and not record.holds_out:
        raise UsageError(f"--val-fraction {val_fraction:g}: {dataset} has test images of its own, leave it out")
    if resize is not None and resize < 1:
        raise UsageError(f"resize to {resize} pixels: expected at least 1")
    place = None if data_dir is None else Path(data_dir).expanduser()
    if place is not None and record.comes_with:
        raise UsageError(f"the {dataset} come with {record.comes_with} and have no data directory: leave it out")
    if place is not None and not place.exists():
        raise UsageError(f"no data at {place}: there is no such file or folder")
    if place is None and record.needs_place:
        raise UsageError("an image folder needs a path: give the folder or zip that holds train/ and test/")
    try:
        image_set = record.load(ImageRequest(split, place, labels, resize, download, val_fraction, seed))
    except OSError as error:
        raise GluonAFFError(f"cannot read {error.filename or place}: {error.strerror or error}") from error
    if resize is None or image_set.images.shape[1:3] == (resize, resize):
        return image_set
    return replace(image_set, images=resized(image_set.images, resize))


def _cifar(name: str) -> Callable[[ImageRequest], ImageSet]:
    return lambda request: load_cifar(name, request.split, request.place, request.labels, request.download)


def _folder(request: ImageRequest) -> ImageSet:
    assert request.place is not None  # needs_place
    return load_folder(request.place, request.split, request.resize, request.val_fraction, request.seed)


register_dataset(
    ImageDataset(
        "cifar10",
        _cifar("cifar10"),
        official={"train": 50000, "test": 10000},
        classes={"fine": CIFAR10_NAMES},
        size=32,
    )
)
register_dataset(
    ImageDataset(
        "cifar100",
        _cifar("cifar100"),
        official={"train": 50000, "test": 10000},
        head=100,  # also on the 20 coarse labels, as published
        classes={"fine": CIFAR100_NAMES, "coarse": CIFAR100_SUPERCLASSES},
        size=32,
    )
)
register_dataset(
    ImageDataset(
        "digits",
        lambda request: load_digits(request.split, request.resize or DIGITS_SIZE),
        classes={"fine": tuple("0123456789")},
        size=DIGITS_SIZE,
        recipe="quick",
        comes_with="scikit-learn",
    )
)
register_dataset(ImageDataset("folder", _folder, names_at=folder_classes, needs_place=True, holds_out=True))
