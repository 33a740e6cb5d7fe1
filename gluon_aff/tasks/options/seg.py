"""The options of a segmentation run: the siblings' and GluonCV's command lines under the names of train_cifar.py."""

from __future__ import annotations

from ...data import list_datasets
from ...segmentation.losses import CLASS_LOSS, LOSSES
from ...utils.limits import MAX_SIDE
from ...utils.outputs import Reads, Writes
from . import shared as groups
from .parser import OptionParser, Role, Switch, number
from .shared import FUSIONS, fusion_name

DESCRIPTION = "Train a feature pyramid network with attentional feature fusion to find what a mask marks."
MODELS = ("fpn",)

_REFUSED = {
    "--start_epoch": "a run continues from its own checkpoint, see --resume",
    "--start-epoch": "a run continues from its own checkpoint, see --resume",
    "--no-val": "the best checkpoint is chosen by validation; --test-images N makes it shorter",
    "--aux": "the network has no auxiliary head",
    "--log-interval": "there is a progress bar within an epoch and a line after it",
}


def add_options(parser: OptionParser) -> None:
    """All options of the task."""
    data = groups.data_options(parser, list_datasets(masks=True), "coco")
    parser.alias("--num-data-workers", "--workers")
    parser.revise("--dataset", type=_dataset)
    data.add_argument("--category", default="stop sign", help="coco: what to find (default: %(default)s)")
    data.add_argument(
        "--download", action="store_true", help="coco: fetch the images that hold the category", role=Role.COMMAND
    )
    data.add_argument(
        "--mask-threshold", type=number(int, 1, 255), help="folder: mask values from here on are foreground"
    )
    data.add_argument("--train-split", metavar="NAME", help="(default: sirst trainval, else train)")
    data.add_argument("--val-split", metavar="NAME", help="(default: sirst test, else val)")
    data.add_argument("--base-size", type=number(int, 2, MAX_SIDE), default=512, metavar="PIXELS", help="(%(default)s)")
    data.add_argument(
        "--crop-size",
        type=number(int, 1, MAX_SIDE),
        default=480,
        metavar="PIXELS",
        help="of the training images (%(default)s)",
    )
    groups.val_fraction_option(data)
    groups.hold_out_options(data)
    data.add_argument(
        "--classes",
        type=number(int, 1, 255),
        default=1,
        metavar="K",
        help="folder: masks hold K class numbers, 0 for the background, 255 for what does not count (default: "
        "foreground and background)",
    )
    model = groups.model_options(parser, MODELS, fusion_name, FUSIONS)
    parser.alias("--fusion", "--fuse-mode")
    parser.alias("--sync-bn", "--syncbn")
    model.add_argument("--blocks", type=number(int, 1), default=3, metavar="B", help="blocks per stage (%(default)s)")
    model.add_argument("--channel-times", type=number(int, 1), default=1, help="width (default: %(default)s)")
    model.add_argument(
        "--stem", choices=("std", "tiny"), default="std", help="std halves the size twice, tiny never (%(default)s)"
    )
    model.add_argument("--tiny", dest="stem", action="store_const", const="tiny", help="--stem tiny, for small targets")
    model.add_argument(
        "--decoder", choices=("reduce", "expand"), default="reduce", help="see docs/segmentation.md (%(default)s)"
    )
    model.add_argument(
        "--authors-fusion",
        action=Switch,
        off=("--no-authors-fusion",),
        help="iaff, ms_se: as the paper-time code had them, both stages of iAFF doubled, MS-SE attending X + Y",
    )
    optimisation = groups.optimisation_options(parser)
    parser.alias("--num-epochs", "--epochs")
    parser.alias("--wd", "--weight-decay")
    optimisation.add_argument(
        "--loss",
        choices=[*sorted(LOSSES), CLASS_LOSS],
        help=f"(default: softiou; with --classes {CLASS_LOSS}, the softmax's cross-entropy)",
    )
    run = groups.run_options(parser)
    run.add_argument("--no-cuda", dest="gpus", action="store_const", const="", help="--gpus ''")
    run.add_argument(
        "--checkname", dest="save_dir", type=Writes(folder=True, run=True), metavar="RUN", help="--save-dir"
    )
    scoring = parser.add_argument_group("scoring")
    scoring.add_argument(
        "--test-batch-size",
        type=number(int, 1),
        default=16,
        metavar="N",
        help="of validation (default: %(default)s)",
        role=Role.FREE,
    )
    scoring.add_argument(
        "--eval",
        action="store_true",
        help="score the run or weights of --resume on --val-split, and leave",
        role=Role.COMMAND,
    )
    scoring.add_argument(
        "--predict",
        type=Writes(folder=True, masks=True),
        metavar="DIR",
        help="as --eval, and write masks, overlays and contact sheets there",
        role=Role.COMMAND,
    )
    scoring.add_argument(
        "--images",
        type=Reads(pictures=True),
        metavar="PLACE",
        help="with --predict: images of your own, a file, folder or zip",
        role=Role.COMMAND,
    )
    parser.refuse(_REFUSED)
    parser.set_defaults(
        optimizer="adagrad", lr=0.01, lr_mode="poly", poly_power=0.9, num_epochs=300, batch_size=32, init="kaiming"
    )


def _dataset(text: str) -> str:
    """The paper's name of its data set is accepted, too."""
    return "coco" if text.lower() == "stopsign" else text
