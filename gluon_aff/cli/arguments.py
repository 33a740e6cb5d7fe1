"""Arguments that several subcommands take."""

from __future__ import annotations

import argparse
from typing import Any, Callable, Dict, Optional

_MODEL_OPTIONS: Dict[str, Dict[str, Any]] = {
    "fusion": {"help": "any strategy, by the field's or the authors' name"},
    "r": {"type": int, "help": "bottleneck ratio of the fusion; 0 for no bottleneck"},
    "classes": {"type": int, "help": "outputs"},
    "blocks": {"type": int, "help": "CIFAR networks and FPNs: blocks in each stage"},
    "channel_times": {"type": int, "help": "CIFAR networks and FPNs: widening of the channels 16, 16, 32, 64"},
    "start_layer": {"type": int, "help": "first stage that uses the fusion"},
    "deep_stem": {"action": "store_const", "const": True, "help": "three 3x3 convolutions for the first one"},
    "stem": {"choices": ("std", "tiny"), "help": "FPNs: stride of the stem, 4 or 1"},
    "decoder": {"choices": ("reduce", "expand"), "help": "FPNs: the decoder narrows towards the output, or stays wide"},
}


def whole(least: int, most: Optional[int] = None) -> Callable[[str], int]:
    """An argument's type: a whole number within bounds."""

    def read(text: str) -> int:
        if not text.isdigit() or int(text) < least or (most is not None and int(text) > most):
            bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {bounds}")
        return int(text)

    return read


def add_weights(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """--weights, and the network of a file; its group."""
    command.add_argument(
        "--weights",
        required=True,
        metavar="ID|FILE|RUN",
        help="a catalogue id, a .params file, or a training run (its directory or a checkpoint's)",
    )
    group = command.add_argument_group("network", "of a file; without --model the file is recognised")
    group.add_argument("--model", help="a name of `gluon-aff models`")
    add_model_options(group)
    return group


def add_model_options(group: argparse._ActionsContainer) -> None:
    """What there is to say of a network beside its name; ``model_options`` reads it back."""
    for name, settings in _MODEL_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", **settings)


def model_options(args: argparse.Namespace) -> Dict[str, Any]:
    """By their names in ``create_model``; None where nothing was said."""
    return {name: getattr(args, name) for name in _MODEL_OPTIONS}


def add_viewer(command: argparse.ArgumentParser) -> None:
    """``add_weights``, and how pictures are made ready for the network (``data_of`` reads it back)."""
    group = add_weights(command)
    group.add_argument(
        "--dataset",
        metavar="NAME",
        help="what the network was trained on (default: what the weights tell)",
    )
    group.add_argument("--labels", choices=("fine", "coarse"), help="of CIFAR-100")
    group.add_argument(
        "--input-size",
        type=whole(1),
        metavar="N",
        help="ImageNet's crop (default 224); other pictures become this size (default: the training's, else CIFAR's "
        "32, segmentation 512)",
    )
    group.add_argument(
        "--normalisation",
        choices=("records", "folder"),
        help="ImageNet: the authors' for record files (default for published weights) or for folders (default)",
    )
    group.add_argument("--gpus", help="a GPU number; '' for the CPU (default: the first GPU, if any)")


def data_of(args: argparse.Namespace) -> Dict[str, Any]:
    """What the command line tells of the pictures."""
    size = args.input_size
    return {"dataset": args.dataset, "labels": args.labels, "size": size, "normalisation": args.normalisation}


def add_pictures(group: argparse._ArgumentGroup, count: int, *names: str, more: str = "") -> None:
    """--images (and other ``names`` for it) and --count, by default ``count``."""
    group.add_argument(
        *names,
        "--images",
        dest="images",
        nargs="+",
        required=True,
        metavar="PLACE",
        help=f"files, folders, zips, or what is in a zip (set.zip/test/cat){more}",
    )
    group.add_argument(
        "--count",
        type=whole(1),
        default=count,
        metavar="N",
        help="at most so many, evenly out of all there are (default: %(default)s)",
    )
