"""The images that a network is scored on, every one once, or as the authors' script counted them.

The authors' protocol, "upstream", is MXNet's record iterator, which fills its last batch up with images from the
beginning and counts those as well; see `record_passes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data import BatchLoader, EvalTransform, find_dataset, list_datasets, load_image_set
from ..data.imagenet import OFFICIAL_SIZES as IMAGENET_SIZES
from ..data.imagenet import RecordSource, open_imagenet
from ..data.imagenet_batches import NORMALISATIONS, ImageNetLoader, normalisation, resized_side
from ..errors import GluonAFFError, UsageError, last_line
from ..facts import imagenet_classes

PROTOCOLS = ("exact", "upstream")
UPSTREAM_BATCH_SIZE = 512  # over all devices, in the runs of the release

Batch = Tuple[np.ndarray, np.ndarray]


@dataclass
class DataOptions:
    """Which images, and how they are read. None means the usual for the data set.

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
class LabelledImages:
    """``count`` images with their labels; the loader gives them in batches (x, y).

    ``present`` are the numbers of the classes that have images.
    """

    dataset: str
    labels: str
    source: str
    classes: Tuple[str, ...]
    count: int
    loader: Union[BatchLoader, ImageNetLoader, RecordIteratorPass]
    normalisation: str
    present: Sequence[int]
    notes: Sequence[str] = ()


def official_size(dataset: str) -> Optional[int]:
    """Return the number of images in the whole test split of a data set, or None where that is not fixed."""
    return IMAGENET_SIZES["val"] if dataset == "imagenet" else find_dataset(dataset).official.get("test")


def open_images(options: DataOptions, protocol: str = "exact") -> LabelledImages:
    """Open the test images that ``options`` name. Raises UsageError for a wrong option, GluonAFFError for bad data."""
    known = (*list_datasets(), "imagenet")
    if options.dataset not in known:
        raise UsageError(f"no data set {options.dataset!r}: choose one of {', '.join(known)}")
    if protocol not in PROTOCOLS:
        raise UsageError(f"no protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    return _imagenet(options, protocol) if options.dataset == "imagenet" else _cifar_like(options, protocol)


def _cifar_like(options: DataOptions, protocol: str) -> LabelledImages:
    for name in ("normalisation", "ground_truth", "skip_bad"):
        if getattr(options, name):
            raise UsageError(f"`{name}` is for ImageNet: leave it out")
    if protocol == "upstream":
        raise UsageError(
            "the authors' record iterator was for ImageNet only; their CIFAR figures count every image once, as the "
            "`protocol` exact does"
        )
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
    facts = options.dataset, options.labels, found.source, found.classes, len(found)
    return LabelledImages(*facts, loader, "cifar", np.unique(found.labels).tolist(), found.notes)


def _imagenet(options: DataOptions, protocol: str) -> LabelledImages:
    if options.data is None:
        raise UsageError("ImageNet needs its place: `data` names a folder, zip or .rec file of validation images")
    if options.labels != "fine":
        raise UsageError(f"`labels` {options.labels}: only cifar100 has coarse labels")
    wnids, names = zip(*imagenet_classes())
    path = Path(options.data).expanduser()
    truth = None if options.ground_truth is None else Path(options.ground_truth).expanduser()
    source = open_imagenet(path, wnids, truth, val_fraction=options.val_fraction, seed=options.seed)
    records = isinstance(source, RecordSource)
    norm = options.normalisation or ("records" if records else "folder")
    mean_and_std, size = normalisation(norm), options.size or 224
    loader: Union[ImageNetLoader, RecordIteratorPass]
    if protocol == "exact":
        loader = ImageNetLoader(
            source,
            options.batch_size,
            mean_and_std,
            size=size,
            crop_ratio=options.crop_ratio,
            workers=options.workers,
            max_bad=None if options.skip_bad else 0,
        )
    elif not records:
        raise UsageError(f"the `protocol` upstream runs MXNet's record iterator: it needs a .rec file, not {path}")
    elif options.skip_bad:
        raise UsageError("the record iterator cannot leave images out: `skip_bad` goes with the `protocol` exact")
    else:
        loader = RecordIteratorPass(
            path, len(source), options.batch_size, size=size, normalisation=norm, workers=options.workers
        )
    classes = names if source.classes == wnids else source.classes
    about = "imagenet", "fine", str(path), classes, len(source), loader, norm
    return LabelledImages(*about, source.present, source.notes)


class RecordIteratorPass:
    """The first pass of ``mx.io.ImageRecordIter`` over a .rec file, as batches (x, y), decoded by MXNet's own OpenCV.

    ``size`` is that of the crop in pixels, ``workers`` the threads that decode. Raises UsageError when the file holds
    less than one batch.
    """

    def __init__(
        self, path: Path, records: int, batch_size: int, *, size: int, normalisation: str, workers: int
    ) -> None:
        if records < batch_size:
            raise UsageError(f"{path} holds {records} images, less than a batch of {batch_size}: give `batch_size`")
        self.path, self.records, self.batch_size = path, records, batch_size
        self.size, self.normalisation, self.workers = size, normalisation, workers

    def __len__(self) -> int:
        return record_passes(self.records, self.batch_size, 1)[0].batches

    def batches(self, epoch: int = 0) -> Iterator[Batch]:
        """Yield the batches, the last one filled up from the beginning."""
        mean, std = NORMALISATIONS[self.normalisation]
        index = self.path.with_suffix(".idx")
        try:
            iterator = mx.io.ImageRecordIter(
                path_imgrec=str(self.path),
                path_imgidx=str(index) if index.is_file() else "",
                batch_size=self.batch_size,
                data_shape=(3, self.size, self.size),
                resize=resized_side(self.size),
                shuffle=False,
                preprocess_threads=max(1, self.workers),
                verbose=False,
                **{f"mean_{channel}": value for channel, value in zip("rgb", mean)},
                **{f"std_{channel}": value for channel, value in zip("rgb", std)},
            )
            for batch in iterator:
                yield batch.data[0].asnumpy(), batch.label[0].asnumpy().astype(np.int64)
        except mx.MXNetError as error:
            raise GluonAFFError(
                f"the record iterator cannot read {self.path} ({last_line(error)}): "
                "the `protocol` exact names the image that is at fault"
            ) from None


class RecordPass(NamedTuple):
    """One pass: the record it begins with, and how many batches and images it yields."""

    first: int
    batches: int
    images: int

    def indices(self, records: int) -> np.ndarray:
        """Return the records in the order they pass; those counted twice appear twice."""
        return (self.first + np.arange(self.images)) % records


def record_passes(records: int, batch_size: int, count: int) -> List[RecordPass]:
    """Return the first ``count`` passes of ``mx.io.ImageRecordIter`` without shuffling, ``round_batch=True``.

    Its last batch is filled up with records from the beginning, and the next pass starts after those. So a pass
    counts more images than there are, or fewer. 50,000 records in batches of 512 give 98, 98 and 97 batches in turn;
    every 32nd pass ends with the last record, and the turn starts over. Batches must not be larger than the set.
    """
    passes, first = [], 0
    for _ in range(count):
        batches = -(-(records - first) // batch_size)
        images = batches * batch_size
        passes.append(RecordPass(first, batches, images))
        first += images - records
    return passes
