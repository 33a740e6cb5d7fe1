"""ImageNet and data sets laid out like it: images decoded batch by batch."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence, Tuple

import mxnet as mx

from .. import published
from ..data import ImageNetLoader, ImageNetTrainLoader
from ..data.class_names import known_classes
from ..data.imagenet.normalisation import mean_and_std
from ..data.pictures import NetworkInput
from ..errors import GluonAFFError, UsageError
from ..evaluation import Report, ScoreRequest, TrainedNetwork
from ..models import ModelEntry, model_entry
from ..models.common import ClassificationNet, check_size
from ..nn import AUTHORS_KEYS, canonical_fusion
from ..training import Job, Listener
from .classification import classification_job, score_classifier
from .imagenet_data import (
    applies_autoaugment,
    check_separate,
    classes_of,
    make_loaders,
    normalisation_of,
    open_split,
    place_of,
    same_images,
    training_images,
)
from .options import imagenet as options_of_imagenet
from .options.parser import OptionParser
from .parts import Data, Setup, check_accepted, make_network
from .register import register_task
from .task import Options, Record, Task

_SIZE = 224  # of images of which nothing is known


@dataclass
class ImageNetData(Data):
    """Batches of both splits; images that could not be read are left out and kept in the loaders' ``bad``."""

    loader: ImageNetTrainLoader
    val_loader: ImageNetLoader
    dtype_given: bool

    def unreadable(self) -> int:
        """Validation images of this rank's part that could not be read; lost parts of the file are no images."""
        return len(self.val_loader.bad) - len(self.val_loader.source.damage)


class ImageNet(Task):
    """Classification of photographs: the paper's ImageNet experiments."""

    name = "imagenet"
    description = options_of_imagenet.DESCRIPTION

    # ---- options

    def add_options(self, parser: OptionParser) -> None:
        options_of_imagenet.add_options(parser)

    def datasets(self) -> Sequence[str]:
        return ("imagenet",)

    def model_name(self, options: Namespace) -> str:
        """``aff_resnet50``, ``iaff_resnext50_32x4d`` and the like."""
        prefix = "" if options.fusion == "add" else f"{canonical_fusion(options.fusion)}_"
        return prefix + registered_name(options).split(".")[0]

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        if not options["teacher"]:
            yield from ((name, "without --teacher") for name in ("temperature", "hard_weight"))

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> ImageNetData:
        train_set, val_set = open_split(options, "train"), open_split(options, "val")
        if not (options.val_dir or options.use_rec or options.resume):  # nobody asked for it; 0.1.0 let runs begin
            check_separate(train_set, val_set)
        classes = classes_of(options, train_set, val_set)
        loader, val_loader = make_loaders(options, train_set, val_set, setup)
        facts = {"name": options.dataset, "train": len(train_set), "test": len(val_set), "classes": classes}
        return ImageNetData(loader, facts, classes, val_loader, setup.dtype_given)

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        name = registered_name(options)
        wanted = {
            "last_gamma": options.last_gamma or None,
            "authors_last_gamma": options.authors_last_gamma or None,
            "use_se": options.use_se or None,
        }
        given = check_accepted(name, model_entry(name).accepts(), wanted, {})
        if options.resume_from and options.use_pretrained:
            raise UsageError("--resume-from and --use-pretrained both name the weights to start from: give one of them")
        classes = outputs or options.classes or 1000
        weights = _pretrained(options) if options.use_pretrained and not options.resume else None
        net = make_network(name, options, ctx, classes=classes, start_layer=options.start_layer, **given)
        if weights:
            published.load(weights, net, replace_head=True)
        return net

    def job(self, options: Namespace, setup: Setup, data: Data, net: mx.gluon.HybridBlock) -> Job:
        assert isinstance(data, ImageNetData) and data.outputs
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
        return -(-training_images(options) // (options.batch_size * devices))

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        return (1, 3, options.input_size, options.input_size)

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: Data, parameters: int) -> Iterator[str]:
        assert isinstance(data, ImageNetData)
        train_set, val_set = data.loader.source, data.val_loader.source
        yield (
            f"data: {data.outputs} classes, {len(train_set)} training images from {train_set.path}, "
            f"{len(val_set)} validation images from {val_set.path}, at {options.input_size}x{options.input_size}"
        )
        for source in (train_set, val_set):
            yield from (f"note: {line}" for line in source.notes)
        if same_images(train_set, val_set):
            yield "note: training and validation images are the same set: these errors say nothing about other images"
        if applies_autoaugment(options):
            yield f"augmentation: AutoAugment (ImageNet's policy, {options.auto_aug_policy}) besides the usual"
        yield (
            f"model: {self.model_name(options)}, {options.tag}, fusion {options.fusion}, first fused stage "
            f"{options.start_layer}; {parameters:,} parameters"
        )

    def notes(self, options: Namespace, data: Data) -> Iterator[str]:
        assert isinstance(data, ImageNetData)
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
        return (
            "[Epoch {epoch:d}] training: {train_metric}={train:f} loss={loss:f}\n"
            "[Epoch {epoch:d}] speed: {speed:d} samples/sec\ttime cost: {time:f}\n"
            "[Epoch {epoch:d}] validation: err-top1={top1:f} err-top5={top5:f}"
        ).format(
            **record,
            speed=round(record["images"] / record["time"]),
            top1=1 - record["val"],
            top5=1 - record["val_top5"],
        )

    def best_file(self, options: Namespace, best: Record) -> str:
        """Top-1 error first, as the authors: ``0.2028-imagenet-ImageNet-ASKCFuse-resnet--50-s-3-235-best.params``."""
        keys = {name: key for key, name in reversed(list(AUTHORS_KEYS.items()))}
        fusion = keys.get(options.fusion, options.fusion)
        return (
            f"{1 - best['val']:.4f}-imagenet-ImageNet-{fusion}-{options.model}--{options.num_layer}"
            f"-s-{options.start_layer}-{best['epoch']}-best.params"
        )

    # ---- what can be done with it

    def supports(self, entry: ModelEntry) -> bool:
        return issubclass(entry.network, ClassificationNet) and entry.input_size > 32

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

    def loaded_data_facts(self, data: Data) -> Options:
        assert isinstance(data, ImageNetData)
        return {"classes": data.loader.source.classes}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        mean, std = mean_and_std(known.get("normalisation") or "folder")
        names = known_classes({**known, "dataset": "imagenet"}, outputs)
        return NetworkInput(known.get("size") or _SIZE, "crop", known.get("crop_ratio"), mean, std, names)

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        return score_classifier(trained, request)

    def model_args(self, options: Options) -> Tuple[str, Options]:
        return registered_name(Namespace(**options)), {name: options[name] for name in ("fusion", "r", "start_layer")}


class ImageCount(Listener):
    """Ends the run when an epoch had another number of images than there are, those that cannot be read aside."""

    def __init__(self, loader: ImageNetTrainLoader) -> None:
        self._loader = loader

    def pass_ends(self, epoch: int, start: int, images: int) -> None:
        most = sum(self._loader.size_of(index) for index in range(start, len(self._loader)))
        if not most - len(self._loader.bad) <= images <= most:
            raise GluonAFFError(f"epoch {epoch} had {images} images, not {most}: the loader lost or repeated some")


def registered_name(options: Namespace) -> str:
    """The host network in the register: ``resnet50``, ``resnext101_32x4d.paper``."""
    host = f"{options.model}{options.num_layer}" + ("_32x4d" if options.model == "resnext" else "")
    return host + (".paper" if options.tag == "paper" else "")


def _pretrained(options: Namespace) -> str:
    """The id or file that ``--use-pretrained`` means."""
    if options.use_pretrained is True:
        return published.id_for(registered_name(options), options.fusion)
    return options.use_pretrained


register_task(ImageNet())
