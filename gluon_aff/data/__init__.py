"""Data sets, augmentation and batches: NumPy arrays in, NumPy arrays out. Knows nothing of networks or training."""

from .autoaugment import AutoAugment, autoaugment_policy
from .image_set import ImageSet, check_labels
from .imagenet import open_imagenet
from .imagenet_batches import ImageNetLoader, ImageNetTrainLoader, ImageNetTransform
from .loader import BatchLoader
from .pairs import EvalPairs, PairLoader, PairSet, TrainPairs
from .registry import (
    ImageDataset,
    ImageRequest,
    find_dataset,
    list_datasets,
    load_image_set,
    load_pair_set,
    register_dataset,
)
from .transform import CIFAR_MEAN, CIFAR_STD, EvalTransform, TrainTransform

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "AutoAugment",
    "BatchLoader",
    "EvalPairs",
    "EvalTransform",
    "ImageNetLoader",
    "ImageNetTrainLoader",
    "ImageNetTransform",
    "ImageDataset",
    "ImageRequest",
    "ImageSet",
    "PairLoader",
    "PairSet",
    "TrainPairs",
    "TrainTransform",
    "autoaugment_policy",
    "check_labels",
    "find_dataset",
    "list_datasets",
    "load_image_set",
    "register_dataset",
    "load_pair_set",
    "open_imagenet",
]
