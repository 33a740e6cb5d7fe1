"""ImageNet and data sets laid out like it: images decoded batch by batch."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Optional, Sequence, Tuple

import numpy as np

from ..data import ImageNetLoader, ImageNetTrainLoader, ImageNetTransform, autoaugment_policy, open_imagenet
from ..data.imagenet import OFFICIAL_SIZES, EncodedImage, ImageNetSource, TreeSource
from ..data.imagenet_batches import NORMALISATIONS, mean_and_std, normalisation
from ..data.pictures import NetworkInput
from ..data.registry import known_classes
from ..data.validation_split import OFFER
from ..errors import UsageError
from ..facts import imagenet_classes
from ..runtime import mxnet_home
from ..training.history import HISTORY, History
from ..utils.arguments import number
from ..utils.outputs import Reads
from . import options as groups
from .options import COUNT, FREE, NATURAL, POSITIVE, SHARE, SIDE, OptionParser, Switch
from .setup import Data, Setup
from .task import Options, Record, Task, register_task

if TYPE_CHECKING:
    import mxnet as mx

    from ..evaluation import Report, ScoreRequest, TrainedNetwork
    from ..models import ModelEntry
    from ..training import Job

MODELS = ("resnet", "resnext")
_SIZE = 224  # of images of which nothing is known


_REFUSED = {
    "--use-gn": "it did nothing in the authors' script; every network here has BatchNorm",
    "--batch-norm": "it is for GluonCV's VGG; every network here has BatchNorm",
    "--resume-states": "the optimizer's state is restored with the rest of the run by --resume RUN",
    "--resume-epoch": "a run continues where it stopped, in the middle of an epoch too: --resume RUN",
}


@dataclass
class ImageNetData(Data):
    """Batches of both splits; images that could not be read are left out and kept in the loaders' ``bad``."""

    loader: ImageNetTrainLoader
    outputs: int
    classes: Tuple[str, ...]
    val_loader: ImageNetLoader
    dtype_given: bool
    shared: str = ""

    def unreadable(self) -> int:
        """Validation images of this rank's part that could not be read; lost parts of the file are no images."""
        return len(self.val_loader.bad) - len(self.val_loader.source.damage)


class ImageNet(Task[ImageNetData]):
    """Classification of photographs: the paper's ImageNet experiments."""

    name = recipes = "imagenet"
    description = "Train an attentional feature fusion network on ImageNet, or on images laid out like it."

    # ---- options

    def add_options(self, parser: OptionParser) -> None:
        _data_options(parser)
        _model_options(parser)
        groups.optimisation_options(parser)
        groups.mixing_options(parser)
        _teacher_options(parser)
        groups.run_options(parser)
        parser.alias("--save-period", "--save-frequency")
        parser.alias("--resume-from", "--resume-params")
        parser.add_argument(
            "--num-gpus", dest="gpus", type=_first_gpus, metavar="N", help="--gpus 0,1,...,N-1; 0: the CPU"
        )
        text = "a line every N batches, 0: none (%(default)s)"
        parser.add_argument("--log-interval", type=NATURAL, default=50, metavar="N", help=text, role=FREE)
        parser.refuse(_REFUSED)
        parser.revise("--dtype", default=None, help="default: float16 on a GPU, float32 on the CPU; by MXNet's AMP")
        parser.revise("--lr-decay-epoch", default=[40, 60], help="or at these (40,60)")
        parser.revise("--warmup-epochs", default=5, help="linear warm-up (default: %(default)s)")
        parser.set_defaults(
            init="kaiming", num_epochs=240, lr=0.075, lr_mode="cosine", mixup_alpha=0.2, mixup_off_epoch=5
        )

    def datasets(self) -> Sequence[str]:
        return ("imagenet",)

    def model_name(self, options: Namespace) -> str:
        """``aff_resnet50``, ``iaff_resnext50_32x4d`` and the like."""
        return groups.fusion_prefix(options.fusion) + registered_name(options).split(".")[0]

    def adapt_recipe(self, values: Options, given: Options) -> None:
        """Weights that are given to start from take the place of a recipe's."""
        if given.get("resume_from"):
            values.pop("use_pretrained", None)

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        if not options["teacher"]:
            yield from ((name, "without --teacher") for name in ("temperature", "hard_weight"))

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> ImageNetData:
        train_set = open_split(options, "train")
        val_set = open_split(options, "val", train_set.classes)
        if not (options.val_dir or options.use_rec or options.resume):  # nobody asked for it; 0.1.0 let runs begin
            check_separate(train_set, val_set)
        shared = shared_images(train_set, val_set)
        groups.check_shared(options, shared)
        classes = classes_of(options, train_set, val_set)
        outputs = options.classes or len(classes)
        if options.resume and train_set.counted:
            outputs = max(outputs, _outputs_before(options, setup))
        loader, val_loader = make_loaders(options, train_set, val_set, setup)
        facts = {"name": options.dataset, "train": len(train_set), "test": len(val_set), "classes": outputs}
        facts["files"] = {"train": train_set.digest(), "test": val_set.digest()}
        return ImageNetData(loader, facts, outputs, classes, val_loader, setup.dtype_given)

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        from .. import published
        from .parts import make_network

        if options.resume_from and options.use_pretrained:
            raise UsageError("--resume-from and --use-pretrained both name the weights to start from: give one of them")
        weights = _pretrained(options) if options.use_pretrained and not options.resume else None
        net = make_network(
            registered_name(options),
            options,
            ctx,
            {
                "last_gamma": options.last_gamma or None,
                "authors_last_gamma": options.authors_last_gamma or None,
                "use_se": options.use_se or None,
            },
            classes=outputs or options.classes or 1000,
            start_layer=options.start_layer,
        )
        if weights:
            published.load(weights, net, replace_head=True)
        return net

    def job(self, options: Namespace, setup: Setup, data: ImageNetData, net: mx.gluon.HybridBlock) -> Job:
        from ..models.common import check_size
        from .parts import ImageCount, classification_job

        check_size(net, options.input_size, options.input_size)
        loader, val_loader = data.loader, data.val_loader
        return classification_job(
            options,
            setup,
            net,
            loader,
            val_loader,
            val_loader.count,
            data.outputs,
            teacher=options.teacher,
            listeners=[ImageCount(loader)],
            left_out=data.unreadable,
            more_figures=lambda: {"left_out": len(loader.bad) + len(val_loader.bad)},
        )

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        """Where there are no data, ImageNet's number of images is taken."""
        images = options.train_images
        if not images:
            there = place_of(options, "train").exists()
            images = len(open_split(options, "train")) if there else OFFICIAL_SIZES["train"]
        return -(-images // (options.batch_size * devices))

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        return (1, 3, options.input_size, options.input_size)

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: ImageNetData, parameters: int) -> Iterator[str]:
        train_set, val_set = data.loader.source, data.val_loader.source
        yield (
            f"data: {data.outputs} classes, {len(train_set)} training images from {train_set.path}, "
            f"{len(val_set)} validation images from {val_set.path}, at {options.input_size}x{options.input_size}"
        )
        for source in (train_set, val_set):
            yield from (f"note: {line}" for line in source.notes)
        if data.shared:
            yield f"note: {data.shared}"
        if same_images(train_set, val_set):
            yield "note: training and validation images are the same set: these errors say nothing about other images"
        if applies_autoaugment(options):
            yield f"augmentation: AutoAugment (ImageNet's policy, {options.auto_aug_policy}) besides the usual"
        yield (
            f"model: {self.model_name(options)}, {options.tag}, fusion {options.fusion}, first fused stage "
            f"{options.start_layer}; {parameters:,} parameters"
        )

    def notes(self, options: Namespace, data: ImageNetData) -> Iterator[str]:
        if options.dtype == "float32" and not data.dtype_given:
            yield "note: float16, the published runs' type, needs a GPU: training in float32"
        if options.auto_aug and not applies_autoaugment(options):
            yield (
                "note: no AutoAugment: the authors' script never read --auto_aug with --use-rec, and --auto-aug-input "
                "folder keeps to that; --auto-aug-input any applies it"
            )
        if options.use_pretrained and not options.resume:
            yield f"weights: from {_pretrained(options)}; optimizer, schedule and best start over"
        if options.teacher:
            yield (
                f"teacher: {options.teacher}, temperature {options.temperature:g}; labels' share of the loss "
                f"{options.hard_weight:g}"
            )

    def figure(self, record: Record) -> str:
        errors = round((1 - record["val"]) * record["val_images"])
        return f"top-1 error {1 - record['val']:.4f} ({errors} of {record['val_images']} validation images)"

    def log_line(self, record: Record) -> str:
        """An epoch's lines of the authors' ImageNet logs; errors are shares, 0 to 1."""
        top5 = f" err-top5={1 - record['val_top5']:f}" if "val_top5" in record else ""
        return (
            "[Epoch {epoch:d}] training: {train_metric}={train:f} loss={loss:f}\n"
            "[Epoch {epoch:d}] speed: {speed:d} samples/sec\ttime cost: {time:f}\n"
            "[Epoch {epoch:d}] validation: err-top1={top1:f}{top5}"
        ).format(
            **record,
            speed=round(record["images"] / record["time"]),
            top1=1 - record["val"],
            top5=top5,
        )

    def best_file(self, options: Namespace, best: Record) -> str:
        """Top-1 error first, as the authors: ``0.2028-imagenet-ImageNet-ASKCFuse-resnet--50-s-3-235-best.params``."""
        from ..nn.names import key_of

        return (
            f"{1 - best['val']:.4f}-imagenet-ImageNet-{key_of(options.fusion)}-{options.model}--{options.num_layer}"
            f"-s-{options.start_layer}-{best['epoch']}-best.params"
        )

    # ---- what can be done with it

    def supports(self, entry: ModelEntry) -> bool:
        return entry.network.task == "classification" and entry.input_size > 32

    def data_facts(self, options: Namespace) -> Options:
        return {
            "dataset": options.dataset,
            "data": str(place_of(options, "val")),
            "size": options.input_size,
            "crop_ratio": options.crop_ratio,
            "normalisation": normalisation_of(options),
            "ground_truth": options.ground_truth,
            "val_fraction": options.val_fraction,
            "seed": options.seed,
        }

    def default_data_facts(self) -> Options:
        return {"dataset": "imagenet"}

    def loaded_data_facts(self, data: ImageNetData) -> Options:
        return {"classes": data.classes}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        mean, std = mean_and_std(known.get("normalisation") or "folder")
        names = known_classes({**known, "dataset": "imagenet"}, outputs)
        return NetworkInput(known.get("size") or _SIZE, "crop", known.get("crop_ratio"), mean, std, names)

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        from .classification import score_classifier

        return score_classifier(trained, request)

    def model_args(self, options: Options) -> Tuple[str, Options]:
        return registered_name(Namespace(**options)), {name: options[name] for name in ("fusion", "r", "start_layer")}


def registered_name(options: Namespace) -> str:
    """The host network in the register: ``resnet50``, ``resnext101_32x4d.paper``."""
    host = f"{options.model}{options.num_layer}" + ("_32x4d" if options.model == "resnext" else "")
    return host + (".paper" if options.tag == "paper" else "")


def _pretrained(options: Namespace) -> str:
    """The id or file that ``--use-pretrained`` means."""
    from .. import published

    if options.use_pretrained is True:
        return published.id_for(registered_name(options), options.fusion)
    return options.use_pretrained


# ---- options


def _data_options(parser: OptionParser) -> None:
    data = groups.data_options(parser, ("imagenet",), "imagenet", also="folder")
    groups.val_fraction_option(data)
    add = data.add_argument
    text = "validation images elsewhere: a folder, zip or .rec file"
    add("--val-dir", type=Reads(), metavar="PLACE", help=text, role=FREE)
    text = "the classes of a flat folder of validation images"
    add("--ground-truth", type=Reads(), metavar="FILE", help=text, role=FREE)
    add("--use-rec", action=Switch, help="read record files instead of --data-dir")
    for split in ("train", "val"):
        place = f"$MXNET_HOME/datasets/imagenet/rec/{split}"
        add(f"--rec-{split}", type=Reads(), metavar="FILE", help=f"(default: {place}.rec)", role=FREE)
        text = "its index (default: the .idx file beside it)"
        add(f"--rec-{split}-idx", type=Reads(), metavar="FILE", help=text, role=FREE)
    add("--classes", type=COUNT, help="outputs of the network (default: the data's classes)")
    text = "images that may be unreadable (%(default)s)"
    add("--max-bad", type=NATURAL, default=50, metavar="N", help=text, role=FREE)
    add("--strict", dest="max_bad", action="store_const", const=0, help="--max-bad 0: stop at the first")
    add("--input-size", type=SIDE, default=224, metavar="PIXELS", help="(default: %(default)s)")
    text = "validation: the crop's share of the resized short side (default: 0.875, EfficientNet's crop from 320 on)"
    add("--crop-ratio", type=SHARE, help=text)
    text = "mean and deviation as the authors gave them to folders or to records (default: as the input is)"
    add("--normalisation", choices=sorted(NORMALISATIONS), help=text)
    text = "of an image, the least that a random crop takes (%(default)s)"
    add("--min-area", type=SHARE, default=0.08, metavar="SHARE", help=text)
    add("--mirror", action=Switch, default=True, help="mirror half of the images")
    add("--jitter", type=number(float, 0, 1), default=0.4, help="of brightness, contrast, saturation (%(default)s)")
    add("--lighting", type=number(float), default=0.1, help="PCA lighting (%(default)s)")
    groups.autoaugment_options(data, "ImageNet's policy")
    text = "folder: not on record files, where the authors' script never read --auto_aug (default: %(default)s)"
    add("--auto-aug-input", choices=("any", "folder"), default="any", help=text)


def _model_options(parser: OptionParser) -> None:
    add = groups.model_options(parser, MODELS).add_argument
    add("--num-layer", type=int, choices=(50, 101, 152), default=50, help="depth; resnext: 50, 101 (%(default)s)")
    add("--start-layer", type=number(int, 1, 4), default=3, help="first stage that fuses (%(default)s)")
    add("--tag", choices=("release", "paper"), default="release", help="the authors' generation")
    add("--last-gamma", action=Switch, help="start the last norm of each block at gamma 0, in both hosts")
    text = "resnext: read --last-gamma the other way round, as the authors' network did"
    add("--authors-last-gamma", action=Switch, help=text)
    add("--use-se", action=Switch, help="resnext: squeeze and excitation")
    text = "start from weights: this model's published ones, or those of an id, run or file; their head stays out "
    text += "where the number of classes differs"
    add("--use-pretrained", nargs="?", const=True, type=Reads(), metavar="WEIGHTS", help=text, role=FREE)


def _teacher_options(parser: OptionParser) -> None:
    add = parser.add_argument_group("distillation").add_argument
    add("--teacher", type=Reads(), metavar="NAME", help="a network of GluonCV's or of ours, a published id, or a file")
    add("--temperature", type=POSITIVE, default=20.0, help="(default: %(default)s)")
    add("--hard-weight", type=number(float, 0, 1), default=0.5, help="of the labels' loss; the rest is the teacher's")


def _first_gpus(text: str) -> str:
    if not text.isdecimal() or len(text) > 3:
        raise ArgumentTypeError(f"{text!r} is not a number of GPUs")
    return ",".join(map(str, range(int(text))))


# ---- where the images lie, and as batches


class _Subset(ImageNetSource):
    """``count`` of a source's images, in its order, chosen by the seed."""

    def __init__(self, source: ImageNetSource, count: int, seed: int) -> None:
        if count > len(source):
            raise UsageError(f"{source.path} has {len(source)} images, {count} were asked for")
        self.path, self.classes, self.counted = source.path, source.classes, source.counted
        self.notes, self.damage = source.notes, source.damage
        self.whole = source
        self._chosen = np.sort(np.random.RandomState(seed).permutation(len(source))[:count])

    def __len__(self) -> int:
        return len(self._chosen)

    def encoded(self, number: int) -> EncodedImage:
        return self.whole.encoded(int(self._chosen[number]))

    def digest(self) -> str:
        return self.whole.digest()


def open_split(options: Namespace, split: str, classes: Sequence[str] = ()) -> ImageNetSource:
    """The images of "train" or "val", or as many of them as asked for. Raises UsageError and GluonAFFError.

    The ground truth is of the ``classes`` that training knows.
    """
    truth = Path(options.ground_truth).expanduser() if options.ground_truth and split == "val" else None
    wnids = classes if truth and classes else [wnid for wnid, _ in imagenet_classes()]
    if options.val_fraction is not None and (options.val_dir or options.use_rec):
        raise UsageError(
            "--val-fraction takes validation images from --data-dir: leave it out, or --val-dir and --use-rec"
        )
    strict = options.max_bad == 0
    place, seed = place_of(options, split), options.seed
    source = open_imagenet(
        *(place, wnids, truth),
        split=split,
        strict=strict,
        val_fraction=options.val_fraction,
        seed=seed,
        classes=options.classes,
    )
    count = options.train_images if split == "train" else options.test_images
    return source if count is None else _Subset(source, count, options.seed)


def check_separate(train_set: ImageNetSource, val_set: ImageNetSource) -> None:
    """Raise UsageError for a set that knows no train and val, whose images would be trained and validated on."""
    if same_images(train_set, val_set):
        raise UsageError(
            f"{val_set.path} has no train and val parts: validation would be on the images of training, and say "
            f"nothing about others. {OFFER}; or name a place of other images by --val-dir"
        )


def same_images(train_set: ImageNetSource, val_set: ImageNetSource) -> bool:
    """Whether both splits are of one set, which knows no train and val."""
    first = [getattr(source, "whole", source).encoded(0).where for source in (train_set, val_set)]
    return first[0] == first[1]


def shared_images(train_set: ImageNetSource, val_set: ImageNetSource) -> str:
    """A remark on validation images that are among those of training; none on one set for both, which has its own."""
    train, val = (getattr(source, "whole", source) for source in (train_set, val_set))
    if not (isinstance(train, TreeSource) and isinstance(val, TreeSource)) or same_images(train, val):
        return ""
    return val.shared_with(train)


def place_of(options: Namespace, split: str) -> Path:
    """Where a split lies, by the options or where GluonCV keeps it. Raises UsageError for an option of no use."""
    home = mxnet_home() / "datasets" / "imagenet"
    if split == "val" and options.val_dir:
        return Path(options.val_dir).expanduser()
    records, index = getattr(options, f"rec_{split}"), getattr(options, f"rec_{split}_idx")
    if not options.use_rec:
        if records or index:
            raise UsageError(f"--rec-{split} names a record file: add --use-rec, or leave it out")
        return Path(options.data_dir or home).expanduser()
    place = Path(records or home / "rec" / f"{split}.rec").expanduser()
    if index and Path(index).expanduser() != place.with_suffix(".idx"):
        raise UsageError(
            f"--rec-{split}-idx {index}: the index of {place.name} is looked for beside it; move or link it to "
            f"{place.with_suffix('.idx')}"
        )
    return place


def applies_autoaugment(options: Namespace) -> bool:
    """Whether ``--auto_aug`` has an effect on this run's input."""
    return options.auto_aug and not (options.use_rec and options.auto_aug_input == "folder")


def normalisation_of(options: Namespace) -> str:
    """The name of the normalisation: ``--normalisation``, or as the authors had it for this kind of input."""
    return options.normalisation or ("records" if options.use_rec else "folder")


def make_loaders(
    options: Namespace, train_set: ImageNetSource, val_set: ImageNetSource, setup: Setup
) -> Tuple[ImageNetTrainLoader, ImageNetLoader]:
    """Batches of both splits. The log is told of images that cannot be read.

    Raises UsageError, and GluonAFFError when more images are bad than ``--max-bad`` allows.
    """
    normalise = normalisation(normalisation_of(options))
    transform = ImageNetTransform(
        options.input_size,
        area=(options.min_area, 1.0),
        mirror=options.mirror,
        autoaugment=autoaugment_policy("imagenet", options.auto_aug_policy) if applies_autoaugment(options) else None,
        jitter=options.jitter,
        lighting=options.lighting,
    )

    def left_out(message: str) -> None:
        setup.log(f"left out: {message}")

    shared = {"workers": options.num_data_workers, "shard": setup.shard, "max_bad": options.max_bad}
    train_loader = ImageNetTrainLoader(
        train_set, options.batch_size * setup.parts, transform, normalise, seed=options.seed, on_bad=left_out, **shared
    )
    val_loader = ImageNetLoader(
        val_set,
        options.batch_size * len(setup.devices),
        normalise,
        size=options.input_size,
        crop_ratio=options.crop_ratio,
        on_bad=left_out,
        **shared,
    )
    return train_loader, val_loader


def classes_of(options: Namespace, train_set: ImageNetSource, val_set: ImageNetSource) -> Tuple[str, ...]:
    """Names of the classes. Raises UsageError when the splits, or the head, do not fit together.

    Classes that are counted from labels may be fewer in one split, and go by the names of the other.
    """
    fewer, more = sorted((train_set, val_set), key=lambda each: (len(each.classes), not each.counted))
    if fewer.classes != more.classes and not fewer.counted:
        other: Optional[str] = min(set(fewer.classes) ^ set(more.classes), default=None)
        raise UsageError(
            f"{train_set.path} has {len(train_set.classes)} classes, {val_set.path} has {len(val_set.classes)}, and "
            "they are not the same" + (f" (such as {other})" if other else "")
        )
    if options.classes is not None and options.classes < len(more.classes):
        raise UsageError(f"--classes {options.classes}: the images have {len(more.classes)} classes")
    return more.classes


def _outputs_before(options: Namespace, setup: Setup) -> int:
    """Outputs of the run that goes on: earlier versions gave 1,000 to records that do not name their classes."""
    history = History(Path(options.save_dir) / HISTORY)
    data = history.header().get("data", {}) if setup.group.rank == 0 else {}
    return setup.group.broadcast_object(data.get("classes", 0))


register_task(ImageNet())
