"""What a network can be scored on, as batches whose images are counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple, Union

import numpy as np

from ..data import BatchLoader, EvalTransform, image_dataset, list_datasets, load_image_set
from ..data.imagenet.loaders import ImageNetLoader
from ..data.imagenet.normalisation import normalisation
from ..data.imagenet.sources import OFFICIAL_SIZES as IMAGENET_SIZES
from ..data.imagenet.sources import HoldOut, RecordSource, open_imagenet
from ..errors import UsageError
from ..facts import imagenet_classes
from .upstream import RecordIteratorPass

PROTOCOLS = ("exact", "upstream")


@dataclass
class DataOptions:
    """Which test images, and how they are read. None means the usual for the data set.

    size: ImageNet's crop (crop_ratio: its share of the resized short side), or what images of other sets are resized
    to. val_fraction, images, seed: what a training run validated on (``--val-fraction``, ``--test-images``).
    """

    dataset: str
    data: Optional[str] = None
    labels: str = "fine"
    size: Optional[int] = None
    crop_ratio: Optional[float] = None
    normalisation: Optional[str] = None
    ground_truth: Optional[str] = None
    batch_size: int = 128
    workers: int = 0
    skip_bad: bool = False
    images: Optional[int] = None
    seed: int = 0
    val_fraction: Optional[float] = None


@dataclass
class TestSet:
    """Batches of a test set. ``images`` is how many there are, ``bad()`` which of them could not be read."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    dataset: str
    labels: str
    source: str
    classes: Tuple[str, ...]
    images: int
    batches: Callable[[], Iterator[Tuple[np.ndarray, np.ndarray]]]
    batch_count: int
    bad: Callable[[], List[str]]
    normalisation: str


def official_size(dataset: str) -> Optional[int]:
    """Images of the whole test split of a data set, or None where that is not fixed."""
    return IMAGENET_SIZES["val"] if dataset == "imagenet" else image_dataset(dataset).official.get("test")


def open_test_set(options: DataOptions, protocol: str = "exact") -> TestSet:
    """Open the test images that ``options`` name. Raises UsageError and GluonAFFError for what cannot be."""
    known = (*list_datasets(), "imagenet")
    if options.dataset not in known:
        raise UsageError(f"no data set {options.dataset!r}: choose one of {', '.join(known)}")
    if protocol not in PROTOCOLS:
        raise UsageError(f"no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    if options.dataset == "imagenet":
        return _imagenet(options, protocol)
    for name in ("normalisation", "ground_truth", "skip_bad"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} is for --dataset imagenet: leave it out")
    if protocol == "upstream":
        raise UsageError(
            "the authors' record iterator was for ImageNet only; their CIFAR figures count every image once, "
            "as --protocol exact does"
        )
    return _cifar_like(options)


def _cifar_like(options: DataOptions) -> TestSet:
    found = load_image_set(
        options.dataset,
        "test",
        options.data,
        options.labels,
        options.size,
        val_fraction=options.val_fraction,
        seed=options.seed,
    )
    if options.images is not None:
        found = found.subset(options.images, options.seed)
    loader = BatchLoader(
        found, options.batch_size, EvalTransform(), shuffle=False, drop_last=False, workers=options.workers
    )
    return TestSet(
        dataset=options.dataset,
        labels=options.labels,
        source=found.source,
        classes=found.classes,
        images=len(found),
        batches=lambda: loader.batches(0),
        batch_count=len(loader),
        bad=list,
        normalisation="cifar",
    )


def _imagenet(options: DataOptions, protocol: str) -> TestSet:
    if options.data is None:
        raise UsageError("ImageNet needs its place: --data names a folder, zip or .rec file of validation images")
    if options.labels != "fine":
        raise UsageError(f"--labels {options.labels}: only cifar100 has coarse labels")
    wnids, names = zip(*imagenet_classes())
    path = Path(options.data).expanduser()
    truth = None if options.ground_truth is None else Path(options.ground_truth).expanduser()
    held_out = None if options.val_fraction is None else HoldOut(options.val_fraction, options.seed)
    source = open_imagenet(path, wnids, truth, held_out=held_out)
    records = isinstance(source, RecordSource)
    norm = options.normalisation or ("records" if records else "folder")
    size = options.size or 224
    loader: Union[ImageNetLoader, RecordIteratorPass]
    if protocol == "exact":
        loader = exact = ImageNetLoader(
            source,
            options.batch_size,
            normalisation(norm),
            size=size,
            crop_ratio=options.crop_ratio,
            workers=options.workers,
            skip_bad=options.skip_bad,
        )
        bad = lambda: exact.bad  # noqa: E731
    else:
        if not records:
            raise UsageError(f"--protocol upstream runs MXNet's record iterator: it needs a .rec file, not {path}")
        if options.skip_bad:
            raise UsageError("the record iterator cannot leave images out: --skip-bad goes with --protocol exact")
        normalisation(norm)
        loader = RecordIteratorPass(
            path, len(source), options.batch_size, size=size, normalisation=norm, workers=options.workers
        )
        bad = list
    return TestSet(
        dataset="imagenet",
        labels="fine",
        source=str(path),
        classes=names if source.classes == wnids else source.classes,
        images=len(source),
        batches=loader.batches,
        batch_count=len(loader),
        bad=bad,
        normalisation=norm,
    )
