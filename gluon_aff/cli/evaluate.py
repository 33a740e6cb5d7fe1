"""``gluon-aff evaluate``: figures of weights on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..utils.arguments import nonempty
from ..utils.outputs import Reads, Writes
from .arguments import (
    add_engine,
    add_json,
    add_number,
    add_preprocessing,
    add_threshold,
    add_weights,
    add_workers,
    data_of,
    model_options,
    print_report,
)


def evaluate(args: argparse.Namespace) -> int:
    from .._version import __version__
    from ..errors import UsageError
    from ..runtime import devices
    from ..tasks import ScoreRequest, get_task
    from ..tasks.opening import open_network
    from ..training.history import environment

    contexts = devices.pick(args.gpus)
    trained = open_network(args.weights, args.model, model_options(args), contexts, exported=True)
    if trained.exported and not trained.task:
        raise UsageError(
            f"{args.weights} is an exported network that does not say what it was trained for: evaluate that"
        )
    trained.use_engine(args.engine)
    names = ("data", "ground_truth", "val_fraction", "split")
    given = {**data_of(args), **{name: getattr(args, name) for name in names}}
    request = ScoreRequest(
        contexts,
        {name: value for name, value in given.items() if value is not None},
        protocol=args.protocol,
        passes=args.passes,
        batch_size=args.batch_size,
        workers=args.workers,
        skip_bad=args.skip_bad,
        skip_unknown=args.skip_unknown,
        threshold=args.threshold,
        environment={
            **environment(__version__),
            "command": ["gluon-aff", *args.argv],
            "devices": [str(context) for context in contexts],
            "engine": {"name": "mxnet"} if trained.engine is None else trained.engine.about,
        },
    )
    report = get_task(trained.task).score(trained, request)
    if trained.engine and not trained.engine.about:
        raise UsageError(
            f"the task {trained.task} scores `net`, not `forward`, of what it is given: leave --engine out"
        )
    print_report(report.lines(), report.to_json(), args.json)
    if args.out:
        paths = report.write(Path(args.out))
        if args.json != "-":
            print(f"\nwritten    {', '.join(map(str, paths))}")
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "evaluate",
        help="score weights on a data set, every image once or as the authors counted",
        description="Of a classifier top-1 and top-5, a table per class, a confusion matrix and images/s; of a "
        "segmentation network IoU, nIoU, curves and figures by size of the objects.",
    )
    add_weights(command, more=", or an exported network's folder")

    group = command.add_argument_group("data")
    add_preprocessing(group)
    text = "folder, archive, zip or .rec file of the images"
    group.add_argument("--data", "--data-dir", type=Reads(nonempty), metavar="PATH", help=text)
    text = "ImageNet in a flat folder: lines of image name and class, as val.txt"
    group.add_argument("--ground-truth", type=Reads(), metavar="FILE", help=text)
    text = "of a folder without a validation part: the share that the run held out (default: as in the run)"
    group.add_argument("--val-fraction", type=float, metavar="SHARE", help=text)
    text = (
        "segmentation: a list of the data set, such as idx_320/test, or a .txt file of ids (default: the run's, else "
    )
    group.add_argument(
        "--split", type=Reads(nonempty), metavar="NAME|FILE", help=f"{text}what is validated on, else all)"
    )
    add_threshold(group)
    group.add_argument("--skip-bad", action="store_true", help="ImageNet: leave out unreadable images, and list them")
    text = "classification: leave out images of classes that the network does not know"
    group.add_argument("--skip-unknown", action="store_true", help=text)

    group = command.add_argument_group("run")
    text = "every image once (default); or the authors' wrapping record iterator, padding counted"
    group.add_argument("--protocol", choices=("exact", "upstream"), default="exact", help=text)
    add_number(group, "--passes", default=3, help="upstream: passes to report (%(default)s)")
    add_number(group, "--batch-size", help="over all devices (default: 128; upstream: 512)")
    add_workers(group, 4, "that make batches; no figure depends on it", low=0)
    add_engine(group, "mxnet")
    group.add_argument("--gpus", help="GPU numbers such as 0,1; '' for the CPU (default: the first GPU, if any)")
    add_json(group)
    text = "write evaluation.json, per_class.csv, confusion.csv and .png there; of segmentation report.md and more"
    group.add_argument("--out", type=Writes(nonempty, folder=True), metavar="DIR", help=text)
    command.set_defaults(run=evaluate)
