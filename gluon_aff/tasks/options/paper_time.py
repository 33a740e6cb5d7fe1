"""What the authors' older scripts called things, and what to type for it here."""

from __future__ import annotations

from argparse import ArgumentTypeError

_RESNEXT = "--model resnext --blocks {} --tag paper"

#: Names of ``--model`` in the scripts that the paper's tables were made with.
MODELS = {
    "resnet_v2_askc": "train_cifar.py --model resnet --blocks 5 --tag paper",
    "resnext29_32x4d": f"train_cifar.py {_RESNEXT.format(3)}",
    "resnext38_32x4d": f"train_cifar.py {_RESNEXT.format(4)}",
    "se_resnext38_32x4d": f"train_cifar.py {_RESNEXT.format(4)}, whose blocks have no squeeze and excitation",
    "resnet50_v1b": "train_imagenet.py --model resnet --num-layer 50 --tag paper",
}

#: Flags of these scripts that are no flags here, with the reason.
FLAGS = {"--scenario": "it is of the paper-time scripts; type --model resnet or resnext with --tag paper"}


def model_name(text: str) -> str:
    """An argparse type: a host's name; the paper-time names are answered with what to type."""
    if text in MODELS:
        raise ArgumentTypeError(f"{text} is a name of the paper-time scripts: type {MODELS[text]}")
    return text
