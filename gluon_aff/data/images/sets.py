"""One door to every classification data set of CIFAR's kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Optional

from ...errors import GluonAFFError, UsageError
from ...utils.files import PathLike
from ..decoding import resized
from .cifar import load_cifar
from .digits import SIZE as DIGITS_SIZE
from .digits import load_digits
from .folder import load_folder
from .image_set import ImageSet

DATASETS = ("cifar10", "cifar100", "digits", "folder")
SPLITS = ("train", "test")


def load_image_set(
    dataset: str,
    split: str,
    data_dir: Optional[PathLike] = None,
    labels: str = "fine",
    resize: Optional[int] = None,
    download: bool = True,
) -> ImageSet:
    """Read the 'train' or 'test' split of a data set.

    dataset: 'cifar10' or 'cifar100' (official archives, see `cifar`), 'digits' (comes with scikit-learn) or 'folder'
    (images in a folder or zip, see `folder`). data_dir: where it lies; CIFAR without one is looked for in
    ``$MXNET_HOME/datasets/<dataset>`` and, if ``download``, fetched from its home. labels: 'fine' or, for
    CIFAR-100, 'coarse' (20). resize: make the images this many pixels wide and high.

    Raises UsageError for wrong arguments and GluonAFFError for data that is missing or damaged.
    """
    if dataset not in DATASETS:
        raise UsageError(f"no data set {dataset!r}: choose one of {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise UsageError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
    if labels != "fine" and dataset != "cifar100":
        raise UsageError(f"labels {labels!r} with {dataset}: only cifar100 has coarse labels")
    if resize is not None and resize < 1:
        raise UsageError(f"resize to {resize} pixels: expected at least 1")
    place = None if data_dir is None else Path(data_dir).expanduser()
    if place is not None and dataset == "digits":
        raise UsageError("the digits come with scikit-learn and have no data directory: leave it out")
    if place is not None and not place.exists():
        raise UsageError(f"no data at {place}: there is no such file or folder")

    if place is None and dataset == "folder":
        raise UsageError("an image folder needs its place: give the folder or zip that holds train/ and test/")

    if dataset == "digits":
        return load_digits(split, resize or DIGITS_SIZE)
    try:
        if dataset == "folder":
            return load_folder(place, split, resize)
        image_set = load_cifar(dataset, split, place, labels, download)
    except OSError as error:
        raise GluonAFFError(f"cannot read {error.filename or place}: {error.strerror or error}") from error
    return image_set if resize is None else replace(image_set, images=resized(image_set.images, resize))
