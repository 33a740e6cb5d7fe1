"""Networks: CIFAR ResNet, ResNeXt and Inception, ImageNet ResNet and ResNeXt, FPN, and the register of their names."""

from .cifar_inception import CIFARInception
from .cifar_resnet import CIFARResNet
from .fpn import FPN
from .registry import ModelEntry, build_model, initializer_of, list_models, model_entry, register_model
from .resnet import ResNet
from .resnext import CIFARResNeXt, ResNeXt

__all__ = [
    "CIFARInception",
    "CIFARResNeXt",
    "CIFARResNet",
    "FPN",
    "ModelEntry",
    "ResNeXt",
    "ResNet",
    "build_model",
    "initializer_of",
    "list_models",
    "model_entry",
    "register_model",
]
