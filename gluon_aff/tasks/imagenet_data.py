"""The images of an ImageNet run: where they lie, and as batches for training and validation."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from ..data import ImageNetLoader, ImageNetTrainLoader, ImageNetTransform, autoaugment_policy, open_imagenet
from ..data.class_names import imagenet_wnids
from ..data.imagenet.normalisation import normalisation
from ..data.imagenet.sources import OFFICIAL_SIZES, HoldOut
from ..data.source import EncodedImage, ImageNetSource
from ..data.validation_split import OFFER
from ..errors import UsageError
from ..runtime.home import mxnet_home
from .parts import Setup


class _Subset(ImageNetSource):
    """``count`` of a source's images, in its order, chosen by the seed."""

    def __init__(self, source: ImageNetSource, count: int, seed: int) -> None:
        if count > len(source):
            raise UsageError(f"{source.path} has {len(source)} images, {count} were asked for")
        self.path, self.classes = source.path, source.classes
        self.notes, self.damage = source.notes, source.damage
        self.whole = source
        self._chosen = np.sort(np.random.RandomState(seed).permutation(len(source))[:count])

    def __len__(self) -> int:
        return len(self._chosen)

    def encoded(self, number: int) -> EncodedImage:
        return self.whole.encoded(int(self._chosen[number]))


def open_split(options: Namespace, split: str) -> ImageNetSource:
    """The images of "train" or "val", or as many of them as asked for. Raises UsageError and GluonAFFError."""
    wnids = imagenet_wnids()
    truth = Path(options.ground_truth).expanduser() if options.ground_truth and split == "val" else None
    held_out = None
    if options.val_fraction is not None:
        if options.val_dir or options.use_rec:
            raise UsageError(
                "--val-fraction takes validation images from --data-dir: leave it out, or --val-dir and --use-rec"
            )
        held_out = HoldOut(options.val_fraction, options.seed)
    strict = options.max_bad == 0
    source = open_imagenet(place_of(options, split), wnids, truth, split=split, strict=strict, held_out=held_out)
    count = options.train_images if split == "train" else options.test_images
    return source if count is None else _Subset(source, count, options.seed)


def check_separate(train_set: ImageNetSource, val_set: ImageNetSource) -> None:
    """Raise UsageError for a set that knows no train and val, whose images would be trained and validated on."""
    if same_images(train_set, val_set):
        raise UsageError(
            f"{val_set.path} has no train and val parts: validation would be on the images of training, and say "
            f"nothing about others. {OFFER}; or name a place of other images by --val-dir"
        )


def same_images(train_set: ImageNetSource, val_set: ImageNetSource) -> bool:
    """Whether both splits are of one set, which knows no train and val."""
    first = [getattr(source, "whole", source).encoded(0).where for source in (train_set, val_set)]
    return first[0] == first[1]


def place_of(options: Namespace, split: str) -> Path:
    """Where a split lies, by the options or where GluonCV keeps it. Raises UsageError for an option of no use."""
    home = mxnet_home() / "datasets" / "imagenet"
    if split == "val" and options.val_dir:
        return Path(options.val_dir).expanduser()
    records, index = getattr(options, f"rec_{split}"), getattr(options, f"rec_{split}_idx")
    if not options.use_rec:
        if records or index:
            raise UsageError(f"--rec-{split} names a record file: add --use-rec, or leave it out")
        return Path(options.data_dir or home).expanduser()
    place = Path(records or home / "rec" / f"{split}.rec").expanduser()
    if index and Path(index).expanduser() != place.with_suffix(".idx"):
        raise UsageError(
            f"--rec-{split}-idx {index}: the index of {place.name} is looked for beside it; move or link it to "
            f"{place.with_suffix('.idx')}"
        )
    return place


def applies_autoaugment(options: Namespace) -> bool:
    """Whether ``--auto_aug`` has an effect on this run's input."""
    return options.auto_aug and not (options.use_rec and options.auto_aug_input == "folder")


def normalisation_of(options: Namespace) -> str:
    """The name of the normalisation: ``--normalisation``, or as the authors had it for this kind of input."""
    return options.normalisation or ("records" if options.use_rec else "folder")


def training_images(options: Namespace) -> int:
    """For a schedule alone: as asked for, as there are, or, without data, as in ImageNet."""
    if options.train_images:
        return options.train_images
    return len(open_split(options, "train")) if place_of(options, "train").exists() else OFFICIAL_SIZES["train"]


def make_loaders(
    options: Namespace, train_set: ImageNetSource, val_set: ImageNetSource, setup: Setup
) -> Tuple[ImageNetTrainLoader, ImageNetLoader]:
    """Batches of both splits. The log is told of images that cannot be read.

    Raises UsageError, and GluonAFFError when more images are bad than ``--max-bad`` allows.
    """
    normalise = normalisation(normalisation_of(options))
    transform = ImageNetTransform(
        options.input_size,
        area=(options.min_area, 1.0),
        mirror=options.mirror,
        autoaugment=autoaugment_policy("imagenet", options.auto_aug_policy) if applies_autoaugment(options) else None,
        jitter=options.jitter,
        lighting=options.lighting,
    )

    def left_out(message: str) -> None:
        setup.log(f"left out: {message}")

    shared = {"workers": options.num_data_workers, "shard": setup.shard, "max_bad": options.max_bad}
    train_loader = ImageNetTrainLoader(
        train_set, options.batch_size * setup.parts, transform, normalise, seed=options.seed, on_bad=left_out, **shared
    )
    val_loader = ImageNetLoader(
        val_set,
        options.batch_size * len(setup.devices),
        normalise,
        size=options.input_size,
        crop_ratio=options.crop_ratio,
        skip_bad=options.max_bad > 0,
        on_bad=left_out,
        **shared,
    )
    return train_loader, val_loader


def classes_of(options: Namespace, train_set: ImageNetSource, val_set: ImageNetSource) -> int:
    """Outputs of the network. Raises UsageError when the splits, or the head, do not fit together."""
    known = len(train_set.classes)
    if train_set.classes != val_set.classes:
        ours, theirs = set(train_set.classes), set(val_set.classes)
        other: Optional[str] = min(ours ^ theirs, default=None)
        raise UsageError(
            f"{train_set.path} has {known} classes, {val_set.path} has {len(theirs)}, and they are not the same"
            + (f" (such as {other})" if other else "")
        )
    if options.classes is not None and options.classes < known:
        raise UsageError(f"--classes {options.classes}: the images have {known} classes")
    return options.classes or known
