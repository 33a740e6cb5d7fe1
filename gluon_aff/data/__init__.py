"""Data sets, augmentation and batches: NumPy arrays in, NumPy arrays out. Knows nothing of networks or training."""

from .autoaugment import AutoAugment, autoaugment_policy
from .imagenet.loaders import ImageNetLoader, ImageNetTrainLoader
from .imagenet.sources import open_imagenet
from .imagenet.transform import ImageNetTransform
from .images.image_set import ImageSet, check_labels
from .images.loader import BatchLoader
from .images.sets import (
    ImageDataset,
    ImageRequest,
    image_dataset,
    list_datasets,
    load_image_set,
    register_dataset,
    unregister_dataset,
)
from .images.transform import TrainTransform
from .pairs.gluoncv import gluoncv_dataset
from .pairs.loader import PairLoader
from .pairs.pair_set import PairSet
from .pairs.sets import PairDataset, list_pair_datasets, load_pair_set, pair_dataset, register_pair_dataset
from .pairs.transform import EvalPairs, TrainPairs
from .pictures import load_images
from .transform import CIFAR_MEAN, CIFAR_STD, EvalTransform

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
    "PairDataset",
    "PairLoader",
    "PairSet",
    "TrainPairs",
    "TrainTransform",
    "autoaugment_policy",
    "check_labels",
    "gluoncv_dataset",
    "image_dataset",
    "list_datasets",
    "list_pair_datasets",
    "load_image_set",
    "pair_dataset",
    "register_dataset",
    "register_pair_dataset",
    "unregister_dataset",
    "load_images",
    "load_pair_set",
    "open_imagenet",
]
