"""Data sets, augmentation and batches: NumPy arrays in, NumPy arrays out. Knows nothing of networks or training."""

from .autoaugment import AutoAugment, autoaugment_policy
from .bare_images import load_images
from .gluoncv_pairs import gluoncv_dataset
from .image_set import ImageSet, check_labels
from .imagenet import ImageNetLoader
from .imagenet_sources import open_imagenet
from .imagenet_training import ImageNetTrainLoader
from .imagenet_transform import ImageNetTransform
from .load import DATASETS, load_image_set
from .loader import BatchLoader
from .pair_loader import PairLoader
from .pair_sets import SEGMENTATION_DATASETS, load_pair_set
from .pair_transform import EvalPairs, TrainPairs
from .pairs import PairSet
from .transform import CIFAR_MEAN, CIFAR_STD, EvalTransform, TrainTransform

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "DATASETS",
    "SEGMENTATION_DATASETS",
    "AutoAugment",
    "BatchLoader",
    "EvalPairs",
    "EvalTransform",
    "ImageNetLoader",
    "ImageNetTrainLoader",
    "ImageNetTransform",
    "ImageSet",
    "PairLoader",
    "PairSet",
    "TrainPairs",
    "TrainTransform",
    "autoaugment_policy",
    "check_labels",
    "gluoncv_dataset",
    "load_image_set",
    "load_images",
    "load_pair_set",
    "open_imagenet",
]
