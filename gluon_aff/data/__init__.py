"""Data sets, augmentation and batches: NumPy arrays in, NumPy arrays out. Knows nothing of networks or training."""

from .autoaugment.policy import AutoAugment, autoaugment_policy
from .imagenet.loaders import ImageNetLoader, ImageNetTrainLoader
from .imagenet.sources import open_imagenet
from .imagenet.transform import ImageNetTransform
from .images.image_set import ImageSet, check_labels
from .images.loader import BatchLoader
from .images.sets import DATASETS, load_image_set
from .images.transform import TrainTransform
from .pairs.gluoncv import gluoncv_dataset
from .pairs.loader import PairLoader
from .pairs.pair_set import PairSet
from .pairs.sets import SEGMENTATION_DATASETS, load_pair_set
from .pairs.transform import EvalPairs, TrainPairs
from .pictures import load_images
from .transform import CIFAR_MEAN, CIFAR_STD, EvalTransform

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
