"""``gluon-aff export``: a trained network in a form that others run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Union

from ..utils.arguments import nonempty, number
from ..utils.outputs import Reads, Writes
from .arguments import add_gpus, add_number, add_preprocessing, add_weights, open_one


def export(args: argparse.Namespace) -> int:
    from ..tasks.exporting import export_network

    names = "images count input_size output out_indices batch with_preprocessing fold calibration overwrite"
    given = {name: getattr(args, name) for name in names.split()}
    done = export_network(open_one(args), Path(args.out), args.to, **given)
    print("\n".join(done.lines))
    print(f"written    {done.directory}")
    return 0


def batch_size(text: str) -> Union[int, str]:
    """An argparse type: a number of pictures, or "dynamic"."""
    return text if text == "dynamic" else number(int, 1, 4096)(text)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "export",
        help="a trained network as MXNet symbol, ONNX or int8, checked, with a manifest",
        description="Writes a folder with the network and manifest.json, opens it again, compares its outputs with the "
        "network's, and puts it in place only then.",
    )
    add_weights(command, "weights")
    group = command.add_argument_group("form")
    text = "MXNet's -symbol.json and .params; ONNX; MXNet in int8 for oneDNN on CPU"
    group.add_argument("--to", required=True, choices=("symbol", "onnx", "int8"), help=text)
    kind = Writes(nonempty, folder=True, run=True)
    group.add_argument("--out", required=True, type=kind, metavar="DIR", help="the folder that is made")
    group.add_argument("--overwrite", action="store_true", help="replace an exported network that is there")
    text = "pictures at once (default: dynamic)"
    group.add_argument("--batch", type=batch_size, default="dynamic", metavar="N|dynamic", help=text)
    text = "normalise inside: the input is pixels, uint8 (N, H, W, 3), RGB"
    group.add_argument("--with-preprocessing", action="store_true", help=text)
    text = "softmax, or a single class's sigmoid, inside; or the maps of every stage, without the head (%(default)s)"
    forms = ("logits", "probabilities", "features")
    group.add_argument("--output", choices=forms, default="logits", help=text)
    text = "which of the features, 0 for the first stage's, -1 for the last's (default: all)"
    group.add_argument("--out-indices", type=int, nargs="+", metavar="I", help=text)
    group.add_argument("--fold", action="store_true", help="fold norms into convolutions where that is exact")
    text = "int8: ranges by minimum and maximum, or by least lost information, which takes minutes (%(default)s)"
    group.add_argument("--calibration", choices=("naive", "entropy"), default="naive", help=text)
    add_preprocessing(command.add_argument_group("preprocessing", "default: what the weights tell"))
    group = command.add_argument_group("check")
    text = (
        "check, and calibrate int8, on these files, folders or zips (default: parts of two photographs); in folders "
        "named like classes, or with masks, accuracy or IoU before and after are reported"
    )
    group.add_argument("--images", nargs="+", type=Reads(pictures=True), metavar="PLACE", help=text)
    add_number(group, "--count", default=200, help="at most N of them, evenly spaced (%(default)s)")
    add_gpus(command)
    command.set_defaults(run=export)
