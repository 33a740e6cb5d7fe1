"""The authors' ``model``: their four networks."""

from .networks import AFFResNet as AFFResNet
from .networks import AFFResNeXt as AFFResNeXt
from .networks import CIFARAFFResNet as CIFARAFFResNet
from .networks import CIFARAFFResNeXt as CIFARAFFResNeXt
