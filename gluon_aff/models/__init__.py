"""Networks: ResNet, ResNeXt and Inception for CIFAR and ImageNet, FPN, U-Net, and the register of their names."""

from .cifar_inception import CIFARInception
from .cifar_resnet import CIFARResNet
from .fpn import FPN
from .registry import ModelEntry, build_model, initializer_of, list_models, model_entry, register_model
from .resnet import ResNet
from .resnext import CIFARResNeXt, ResNeXt
from .unet import UNet

__all__ = [
    "CIFARInception",
    "CIFARResNeXt",
    "CIFARResNet",
    "FPN",
    "ModelEntry",
    "ResNeXt",
    "ResNet",
    "UNet",
    "build_model",
    "initializer_of",
    "list_models",
    "model_entry",
    "register_model",
]
