"""The options of an ImageNet run, the authors' and GluonCV's among them."""

from __future__ import annotations

from argparse import ArgumentTypeError

from ...data.imagenet.normalisation import NORMALISATIONS
from ...utils.limits import MAX_SIDE
from ...utils.outputs import Reads
from . import shared as groups
from .parser import OptionParser, Role, Switch, number
from .shared import FUSIONS, fusion_name

DESCRIPTION = "Train an attentional feature fusion network on ImageNet, or on images laid out like it."
MODELS = ("resnet", "resnext")

_REFUSED = {
    "--use-gn": "it did nothing in the authors' script; every network here has BatchNorm",
    "--batch-norm": "it is for GluonCV's VGG; every network here has BatchNorm",
    "--resume-states": "the optimizer's state is restored with the rest of the run by --resume RUN",
    "--resume-epoch": "a run continues where it stopped, in the middle of an epoch too: --resume RUN",
}


def add_options(parser: OptionParser) -> None:
    """All options of the task."""
    _data_options(parser)
    _model_options(parser)
    groups.optimisation_options(parser)
    groups.mixing_options(parser)
    _teacher_options(parser)
    groups.run_options(parser)
    parser.alias("--save-period", "--save-frequency")
    parser.alias("--resume-from", "--resume-params")
    parser.add_argument("--num-gpus", dest="gpus", type=_first_gpus, metavar="N", help="--gpus 0,1,...,N-1; 0: the CPU")
    parser.add_argument(
        "--log-interval",
        type=number(int),
        default=50,
        metavar="N",
        help="a line every N batches, 0: none (%(default)s)",
        role=Role.FREE,
    )
    parser.refuse(_REFUSED)
    parser.revise("--dtype", default=None, help="default: float16 on a GPU, float32 on the CPU; by MXNet's AMP")
    parser.revise("--lr-decay-epoch", default=[40, 60], help="or at these (40,60)")
    parser.revise("--warmup-epochs", default=5, help="linear warm-up (default: %(default)s)")
    parser.set_defaults(init="kaiming", num_epochs=240, lr=0.075, lr_mode="cosine", mixup_alpha=0.2, mixup_off_epoch=5)


def _data_options(parser: OptionParser) -> None:
    data = groups.data_options(parser, ("imagenet",), "imagenet")
    groups.val_fraction_option(data)
    add = data.add_argument
    add(
        "--val-dir",
        type=Reads(),
        metavar="PLACE",
        help="validation images elsewhere: a folder, zip or .rec file",
        role=Role.FREE,
    )
    add(
        "--ground-truth",
        type=Reads(),
        metavar="FILE",
        help="the classes of a flat folder of validation images",
        role=Role.FREE,
    )
    add("--use-rec", action=Switch, off=("--no-use-rec",), help="read record files instead of --data-dir")
    for split in ("train", "val"):
        place = f"$MXNET_HOME/datasets/imagenet/rec/{split}"
        add(f"--rec-{split}", type=Reads(), metavar="FILE", help=f"(default: {place}.rec)", role=Role.FREE)
        add(
            f"--rec-{split}-idx",
            type=Reads(),
            metavar="FILE",
            help="its index (default: the .idx file beside it)",
            role=Role.FREE,
        )
    add("--classes", type=number(int, 1), help="outputs of the network (default: the data's classes)")
    add(
        "--max-bad",
        type=number(int),
        default=50,
        metavar="N",
        help="images that may be unreadable (%(default)s)",
        role=Role.FREE,
    )
    add("--strict", dest="max_bad", action="store_const", const=0, help="--max-bad 0: stop at the first")
    add("--input-size", type=number(int, 1, MAX_SIDE), default=224, metavar="PIXELS", help="(default: %(default)s)")
    add(
        "--crop-ratio",
        type=number(float, 0, 1, above=True),
        help="validation: the crop's share of the resized short side (default: 0.875, EfficientNet's crop from 320 on)",
    )
    add(
        "--normalisation",
        choices=sorted(NORMALISATIONS),
        help="mean and deviation as the authors gave them to folders or to records (default: as the input is)",
    )
    add(
        "--min-area",
        type=number(float, 0, 1, above=True),
        default=0.08,
        metavar="SHARE",
        help="of an image, the least that a random crop takes (%(default)s)",
    )
    add("--mirror", action=Switch, off=("--no-mirror",), default=True, help="mirror half of the images")
    add("--jitter", type=number(float, 0, 1), default=0.4, help="of brightness, contrast, saturation (%(default)s)")
    add("--lighting", type=number(float), default=0.1, help="PCA lighting (%(default)s)")
    groups.autoaugment_options(data, "ImageNet's policy")
    add(
        "--auto-aug-input",
        choices=("any", "folder"),
        default="any",
        help="folder: not on record files, where the authors' script never read --auto_aug (default: %(default)s)",
    )


def _model_options(parser: OptionParser) -> None:
    model = groups.model_options(parser, MODELS, fusion_name, FUSIONS)
    model.add_argument(
        "--num-layer", type=int, choices=(50, 101, 152), default=50, help="depth; resnext: 50, 101 (%(default)s)"
    )
    model.add_argument("--start-layer", type=number(int, 1, 4), default=3, help="first stage that fuses (%(default)s)")
    model.add_argument("--tag", choices=("release", "paper"), default="release", help="the authors' generation")
    model.add_argument(
        "--last-gamma",
        action=Switch,
        off=("--no-last-gamma",),
        help="start the last norm of each block at gamma 0, in both hosts",
    )
    model.add_argument(
        "--authors-last-gamma",
        action=Switch,
        off=("--no-authors-last-gamma",),
        help="resnext: read --last-gamma the other way round, as the authors' network did",
    )
    model.add_argument("--use-se", action=Switch, off=("--no-use-se",), help="resnext: squeeze and excitation")
    model.add_argument(
        "--use-pretrained",
        nargs="?",
        const=True,
        type=Reads(),
        metavar="WEIGHTS",
        help="start from published weights: this model's, those of an id, or a file; their head stays out where the "
        "number of classes differs",
        role=Role.FREE,
    )


def _teacher_options(parser: OptionParser) -> None:
    group = parser.add_argument_group("distillation")
    group.add_argument(
        "--teacher",
        type=Reads(),
        metavar="NAME",
        help="a network of GluonCV's or of ours, a published id, or a file",
    )
    group.add_argument("--temperature", type=number(float, above=True), default=20.0, help="(default: %(default)s)")
    group.add_argument(
        "--hard-weight", type=number(float, 0, 1), default=0.5, help="of the labels' loss; the rest is the teacher's"
    )


def _first_gpus(text: str) -> str:
    if not text.isdecimal() or len(text) > 3:
        raise ArgumentTypeError(f"{text!r} is not a number of GPUs")
    return ",".join(map(str, range(int(text))))
