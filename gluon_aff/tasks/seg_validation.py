"""A split of images and masks, a network's logits on it, and their figures."""

from __future__ import annotations

from argparse import Namespace
from typing import Iterator, List, Optional, Tuple

import mxnet as mx
import numpy as np

from ..data import EvalPairs, PairLoader, PairSet, load_pair_set
from ..segmentation.scores import COCO_LIMITS, AnyScore, ClassScore, SegmentationScore
from ..segmentation.targets import TargetScore
from ..training import Stop
from ..training.state import split_batch
from ..utils.console import progress


def load_split(options: Namespace, split: str, count: Optional[int] = None) -> PairSet:
    """The images and masks of a split, or ``count`` of them."""
    pairs = load_pair_set(
        options.dataset,
        split,
        options.data_dir,
        download=options.download,
        category=options.category,
        mask_threshold=options.mask_threshold,
        val_fraction=options.val_fraction,
        seed=options.seed,
        classes=options.classes,
        mask_ignore=options.mask_ignore,
    )
    return pairs if count is None else pairs.subset(count, options.seed)


def empty_score(
    pairs: PairSet,
    size_limits: Tuple[float, float] = COCO_LIMITS,
    targets: Optional[TargetScore] = None,
    threshold: float = 0.5,
) -> AnyScore:
    """What the figures of a set are added up in."""
    if pairs.classes == 1:
        return SegmentationScore(size_limits, targets, threshold)
    return ClassScore(pairs.classes, pairs.class_names)


def score(
    net: mx.gluon.Block,
    pairs: PairSet,
    options: Namespace,
    devices: List[mx.Context],
    stop: Optional[Stop] = None,
) -> Optional[AnyScore]:
    """The figures of a network on a set, at ``base_size``; None when ``stop`` is requested on the way."""
    found = empty_score(pairs)
    for logits, masks, chosen in predictions(net, pairs, options, devices):
        found.add(logits, masks, [pairs.names[index] for index in chosen])
        if stop is not None and stop.requested:
            return None
    return found


def predictions(
    net: mx.gluon.Block, pairs: PairSet, options: Namespace, devices: List[mx.Context]
) -> Iterator[Tuple[np.ndarray, np.ndarray, range]]:
    """Batch by batch in the set's order: logits (B, classes, base_size, base_size), masks, and the images' places."""
    loader = PairLoader(
        pairs,
        options.test_batch_size * len(devices),
        EvalPairs(options.base_size),
        shuffle=False,
        workers=options.num_data_workers,
    )
    first = 0
    for x, y in progress(loader.batches(0), len(loader), "validation"):
        outputs = [net(data) for data, _ in zip(*split_batch(x, y, devices))]
        yield np.concatenate([output.asnumpy() for output in outputs]), y, range(first, first + len(x))
        first += len(x)
