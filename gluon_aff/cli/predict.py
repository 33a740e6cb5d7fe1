"""``gluon-aff predict``: pictures through a network of any kind, as a stream."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Iterable

from ..utils.arguments import nonempty
from ..utils.outputs import Reads, Writes
from .arguments import (
    add_engine,
    add_gpus,
    add_number,
    add_preprocessing,
    add_threshold,
    add_weights,
    add_workers,
    open_one,
)


def predict(args: argparse.Namespace) -> int:
    from ..data.picture_files import find_pictures
    from ..data.text_lists import lines_of
    from ..errors import UsageError
    from ..tasks.predicting import expanded, pictures_of_lines, write_predicted

    if "-" in args.images and len(args.images) > 1:
        raise UsageError("'-' reads the list of pictures from standard input: leave the other places out")
    if args.images == ["-"] and args.split:
        raise UsageError("--split is for a data set's folder or zip, not for a list from standard input: leave it out")
    trained = open_one(args, exported=True)
    trained.use_engine(args.engine)
    predictor = trained.predictor()
    if args.threshold is not None and (not predictor.segments or predictor.outputs > 1):
        raise UsageError("--threshold is for segmentation into foreground and background: leave it out")
    if predictor.segments and not args.out:
        raise UsageError("a segmentation network gives masks: say with --out DIR where they go")
    total, width = None, 0
    if args.images == ["-"]:
        items: Iterable = pictures_of_lines(lines_of(sys.stdin.buffer, "surrogateescape"))
    else:
        chosen = find_pictures(expanded(args.images), split=args.split).chosen
        items, total, width = chosen, len(chosen), max(len(picture.where) for picture in chosen)
    began = time.perf_counter()
    form = args.format, args.batch_size, args.workers, args.top, width
    threshold = 0.5 if args.threshold is None else args.threshold
    tally, _ = write_predicted(predictor, items, total, args.out, *form, threshold)
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
    add_weights(command, "weights", ", or an exported network's folder")
    text = "files, folders, zips, a folder inside a zip, patterns in quotes; '-' reads a list from standard input"
    command.add_argument("images", nargs="+", type=Reads(pictures=True), metavar="IMAGES", help=text)
    text = "of a data set's images/ and masks/: those of a list, such as idx_320/test, or of a .txt file of ids"
    command.add_argument("--split", type=Reads(nonempty), metavar="NAME|FILE", help=text)
    group = command.add_argument_group("output")
    add_number(group, "--top", default=5, metavar="K", help="classes for each image (%(default)s)")
    add_threshold(group)
    text = "jsonl: a line of JSON each (%(default)s)"
    group.add_argument("--format", choices=("table", "csv", "jsonl"), default="table", help=text)
    kind = Writes(nonempty, forms=("json", "text"), masks=True)
    text = "write there instead of printing; of segmentation the folder of masks/ and overlays/"
    group.add_argument("--out", type=kind, metavar="FILE|DIR", help=text)
    group.add_argument("--strict", action="store_true", help="exit with 1 when an image could not be read")
    add_preprocessing(command.add_argument_group("preprocessing", "default: what the weights tell"))
    group = command.add_argument_group("run")
    add_number(group, "--batch-size", default=32, help="(%(default)s)")
    add_workers(group, 4, "that read and decode; no figure depends on it")
    add_engine(group, "mxnet; of an exported ONNX model onnxruntime")
    add_gpus(command)
    command.set_defaults(run=predict)
