"""``gluon-aff predict``: pictures through a network of any kind, as a stream."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Iterable

from ..utils.arguments import nonempty, number
from ..utils.outputs import Reads, Writes
from .arguments import add_gpus, add_preprocessing, add_weights_argument, data_of, model_options


def predict(args: argparse.Namespace) -> int:
    from ..data.pictures import find_pictures
    from ..errors import UsageError
    from ..runtime import devices
    from ..tasks.opening import open_network
    from ..tasks.predicting import expanded, pictures_of_lines, write_predicted

    if "-" in args.images and len(args.images) > 1:
        raise UsageError("'-' reads the list of pictures from standard input: leave the other places out")
    contexts = devices.pick(args.gpus)[:1]
    network = open_network(args.weights, args.model, model_options(args), contexts, data_of(args), exported=True)
    predictor = network.predictor()
    if predictor.segments and not args.out:
        raise UsageError("a segmentation network gives masks: say with --out DIR where they go")
    total, width = None, 0
    if args.images == ["-"]:
        items: Iterable = pictures_of_lines(sys.stdin)
    else:
        chosen = find_pictures(expanded(args.images)).chosen
        items, total, width = chosen, len(chosen), max(len(picture.where) for picture in chosen)
    began = time.perf_counter()
    form = args.format, args.batch_size, args.workers, args.top, width
    tally, _ = write_predicted(predictor, items, total, args.out, *form)
    seconds = time.perf_counter() - began
    for line in tally.lines(seconds):
        print(line, file=sys.stderr)
    return 1 if args.strict and tally.bad else 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "predict",
        help="classes or masks of new images, by an id, a file, a run or an exported network",
        description="Classifiers print the likeliest classes with their softmax scores; segmentation networks write "
        "masks and overlays. An image that cannot be read is named and skipped.",
    )
    add_weights_argument(command, exported=True)
    command.add_argument(
        "images",
        nargs="+",
        type=Reads(pictures=True),
        metavar="IMAGES",
        help="files, folders, zips, a folder inside a zip, patterns in quotes; '-' reads a list from standard input",
    )
    group = command.add_argument_group("output")
    group.add_argument(
        "--top", type=number(int, 1), default=5, metavar="K", help="classes for each image (%(default)s)"
    )
    group.add_argument(
        "--format", choices=("table", "csv", "jsonl"), default="table", help="jsonl: a line of JSON each (%(default)s)"
    )
    group.add_argument(
        "--out",
        type=Writes(nonempty, forms=("json", "text"), masks=True),
        metavar="FILE|DIR",
        help="write there instead of printing; of segmentation the folder of masks/ and overlays/",
    )
    group.add_argument("--strict", action="store_true", help="exit with 1 when an image could not be read")
    add_preprocessing(command.add_argument_group("preprocessing", "default: what the weights tell"))
    group = command.add_argument_group("run")
    group.add_argument("--batch-size", type=number(int, 1), default=32, metavar="N", help="(%(default)s)")
    group.add_argument(
        "-j",
        "--workers",
        type=number(int, 1),
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads that read and decode; no figure depends on it (default here: %(default)s)",
    )
    add_gpus(command)
    command.set_defaults(run=predict)
