"""The options of a CIFAR run."""

from __future__ import annotations

from ...data import list_datasets
from ...utils.limits import MAX_SIDE
from . import shared as groups
from .parser import OptionParser, Switch, number
from .shared import FUSIONS, fusion_name

DESCRIPTION = "Train an attentional feature fusion network on CIFAR or on images like CIFAR's."
MODELS = ("resnet", "resnext", "inception")


def add_options(parser: OptionParser) -> None:
    """All options of the task."""
    data = groups.data_options(parser, list_datasets(), "cifar100")
    data.add_argument(
        "--labels",
        choices=("fine", "coarse"),
        default="fine",
        help="CIFAR-100: its 100 fine labels (default), or the 20 coarse ones on a 100-way head, as published",
    )
    data.add_argument("--classes", type=number(int, 1), help="outputs of the network (default: the data set's)")
    data.add_argument(
        "--resize", type=number(int, 1, MAX_SIDE), metavar="PIXELS", help="make all images this wide and high"
    )
    data.add_argument(
        "--pad", type=number(int, 0, 256), default=4, metavar="PIXELS", help="of the random crop (%(default)s)"
    )
    data.add_argument("--mirror", action=Switch, off=("--no-mirror",), default=True, help="mirror half of the images")
    groups.autoaugment_options(data, "CIFAR-10's policy, before crop and mirror")
    groups.val_fraction_option(data)
    groups.hold_out_options(data)
    model = groups.model_options(parser, MODELS, fusion_name, FUSIONS)
    model.add_argument("--blocks", type=number(int, 1), default=1, metavar="B", help="blocks per stage (%(default)s)")
    model.add_argument("--channel-times", type=number(int, 1), help="width (default: 4, inception: 1)")
    model.add_argument("--start-layer", type=number(int, 1, 4), default=1, help="first stage that fuses (%(default)s)")
    model.add_argument(
        "--deep-stem", action=Switch, off=("--no-deep-stem",), help="three 3x3 convolutions at the start"
    )
    model.add_argument("--tag", choices=("release", "paper"), default="release", help="the authors' generation")
    model.add_argument(
        "--authors-last-gamma",
        action=Switch,
        off=("--no-authors-last-gamma",),
        help="resnext: start the last norm of each block at gamma 0, as all published runs did",
    )
    model.add_argument("--mid-width", choices=("input", "output"), help="inception: see its class (default: input)")
    model.add_argument("--kernel5", choices=("dilated", "true"), help="inception: its 5x5 (default: dilated)")
    model.add_argument(
        "--drop-rate", type=number(float, 0, 1), default=0.0, help="dropout before the head, if it has it"
    )
    groups.optimisation_options(parser)
    groups.mixing_options(parser)
    groups.run_options(parser)
