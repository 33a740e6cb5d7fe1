"""CIFAR and data sets like it: small images, held in memory."""

from __future__ import annotations

import shlex
import zlib
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence, Tuple

from ..data import (
    CIFAR_MEAN,
    CIFAR_STD,
    BatchLoader,
    EvalTransform,
    ImageSet,
    TrainTransform,
    autoaugment_policy,
    check_labels,
    find_dataset,
    list_datasets,
    load_image_set,
)
from ..data.folder import UnequalImages
from ..data.pictures import NetworkInput
from ..data.registry import known_classes
from ..errors import UsageError
from ..utils.arguments import label_kind, number
from . import options as groups
from .options import COUNT, SIDE, OptionParser, Switch
from .setup import Data, Setup
from .task import Options, Record, Task, register_task

if TYPE_CHECKING:
    import mxnet as mx

    from ..evaluation import Report, ScoreRequest, TrainedNetwork
    from ..models import ModelEntry
    from ..training import Job
    from .final_score import FinalScore

MODELS = ("resnet", "resnext", "inception")
HELD_OUT = "held-out"  # a third split beside "train" and "test"
_SIZE = 32  # of images of which nothing is known
_PAPER_EPOCHS, _PAPER_DECAYS, _PAPER_MIXUP_OFF = 400, (300, 350), 20


@dataclass
class ImageData(Data):
    """``train`` in the loader's batches; ``val`` is validated on, in those of ``val_loader``.

    Without --hold-out, and without a val/ of the set's own, ``val`` are the test images, and ``test`` is None.
    """

    loader: BatchLoader
    outputs: int
    train: ImageSet
    val: ImageSet
    val_loader: BatchLoader
    test: Optional[ImageSet] = None


class CIFAR(Task[ImageData]):
    """Classification of small images: the paper's CIFAR experiments."""

    name = recipes = "cifar"
    description = "Train an attentional feature fusion network on CIFAR or on images like CIFAR's."
    ablation_hosts = {"inception": "cifar_inception", "resnet": "cifar_resnet.paper"}
    paper_setting = "CIFAR-100, 50000 and 10000 images, 20 superclasses on 100 outputs"
    paper_figures = "on CIFAR-100's 20 superclasses"

    # ---- options

    def add_options(self, parser: OptionParser) -> None:
        data = groups.data_options(parser, list_datasets(), "cifar100")
        add = data.add_argument
        text = "CIFAR-100: its 100 fine labels (default), or the 20 coarse ones (super) on a 100-way head, as published"
        add("--labels", type=label_kind, choices=("fine", "coarse"), default="fine", help=text)
        add("--classes", type=COUNT, help="outputs of the network (default: the data set's)")
        add("--resize", type=SIDE, metavar="PIXELS", help="make all images this wide and high")
        add("--pad", type=number(int, 0, 256), default=4, metavar="PIXELS", help="of the random crop (%(default)s)")
        add("--mirror", action=Switch, default=True, help="mirror half of the images")
        groups.autoaugment_options(data, "CIFAR-10's policy, before crop and mirror")
        groups.val_fraction_option(data)
        groups.hold_out_options(data)
        add = groups.model_options(parser, MODELS).add_argument
        add("--blocks", type=COUNT, default=1, metavar="B", help="blocks per stage (%(default)s)")
        add("--channel-times", type=COUNT, help="width (default: 4, inception: 1)")
        add("--start-layer", type=number(int, 1, 4), default=1, help="first stage that fuses (%(default)s)")
        add("--deep-stem", action=Switch, help="three 3x3 convolutions at the start")
        add("--tag", choices=("release", "paper"), default="release", help="the authors' generation")
        text = "resnext: start the last norm of each block at gamma 0, as all published runs did"
        add("--authors-last-gamma", action=Switch, help=text)
        add("--mid-width", choices=("input", "output"), help="inception: see its class (default: input)")
        add("--kernel5", choices=("dilated", "true"), help="inception: its 5x5 (default: dilated)")
        add("--drop-rate", type=number(float, 0, 1), default=0.0, help="dropout before the head, if it has it")
        groups.optimisation_options(parser)
        groups.mixing_options(parser)
        groups.run_options(parser)

    def datasets(self) -> Sequence[str]:
        return list_datasets()

    def complete(self, options: Options) -> None:
        """Fill in the width that belongs to the host."""
        if options["channel_times"] is None:
            options["channel_times"] = 1 if options["model"] == "inception" else 4

    def default_recipe(self, options: Options) -> Optional[str]:
        return find_dataset(options["dataset"]).recipe

    def adapt_recipe(self, values: Options, given: Options) -> None:
        """A recipe's coarse labels are CIFAR-100's."""
        if given.get("dataset", values["dataset"]) != "cifar100":
            values.pop("labels", None)

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        if not options["hold_out"] and not find_dataset(options["dataset"]).has_val:
            yield "final_test", "without --hold-out"

    def model_name(self, options: Namespace) -> str:
        """``cifar_aff_resnet32`` and the like."""
        return f"cifar_{groups.fusion_prefix(options.fusion)}{options.model}{_depth(options)}"

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> ImageData:
        train, test = load_split(options, "train"), load_split(options, "test")
        chooses_by = HELD_OUT if options.hold_out else "val" if has_own_val(options) else "test"
        val = test if chooses_by == "test" else load_split(options, chooses_by)
        outputs = head_size(options, train.classes)
        check_labels(train, outputs)
        check_labels(test, outputs)
        check_labels(val, outputs)
        for part in (val, test):
            groups.check_shared(options, part.shared)
        setup.check_enough(len(train))
        batch_size = options.batch_size * setup.parts
        batches = partial(BatchLoader, seed=options.seed, workers=options.num_data_workers, shard=setup.shard)
        policy = autoaugment_policy("cifar10", options.auto_aug_policy) if options.auto_aug else None
        augment = TrainTransform(pad=options.pad, mirror=options.mirror, autoaugment=policy)
        whole_batch = len(train) >= batch_size * setup.group.size  # fewer images than a batch are one smaller batch
        return ImageData(
            loader=batches(train, batch_size, augment, shuffle=True, drop_last=whole_batch),
            facts={
                **{"name": train.name, "train": len(train), "test": len(test), "classes": outputs},
                **({} if val is test else {"held_out": len(val)}),
                "files": {"train": train.digest, "test": test.digest},
            },
            outputs=outputs,
            train=train,
            val=val,
            val_loader=batches(
                val, options.batch_size * len(setup.devices), EvalTransform(), shuffle=False, drop_last=False
            ),
            test=None if val is test else test,
        )

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        from .parts import make_network

        return make_network(
            f"cifar_{options.model}" + (".paper" if options.tag == "paper" else ""),
            options,
            ctx,
            {
                "start_layer": options.start_layer if options.start_layer != 1 else None,
                "deep_stem": options.deep_stem or None,
                "authors_last_gamma": options.authors_last_gamma or None,
                "mid_width": options.mid_width,
                "kernel5": options.kernel5,
                "final_drop": options.drop_rate or None,
            },
            classes=outputs or head_size(options),
            blocks=options.blocks,
            channel_times=options.channel_times,
        )

    def job(self, options: Namespace, setup: Setup, data: ImageData, net: mx.gluon.HybridBlock) -> Job:
        from ..models.common import check_size
        from .parts import classification_job

        check_size(net, *data.train.images.shape[1:3])
        held_out = {"held_out": len(data.val)} if data.test else {}
        return classification_job(
            *(options, setup, net, data.loader, data.val_loader, len(data.val), data.outputs),
            more_figures=lambda: held_out,
        )

    def test(self, options: Namespace, setup: Setup, data: ImageData, net: mx.gluon.HybridBlock) -> FinalScore:
        from ..evaluation import predict
        from .classification import classes_found

        assert data.test
        size = options.batch_size * len(setup.devices)
        loader = BatchLoader(
            data.test, size, EvalTransform(), shuffle=False, drop_last=False, workers=options.num_data_workers
        )
        found = predict(net, loader.batches(0), setup.devices, len(loader))
        return classes_found(found, [f"{zlib.crc32(image.tobytes()):08x}" for image in data.test.images])

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        official = find_dataset(options.dataset).official.get("train")
        whole = official and official - (options.hold_out or 0)
        images = options.train_images or whole or len(load_split(options, "train"))
        return max(1, images // (options.batch_size * devices))

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        return (1, 3, options.resize or 32, options.resize or 32)

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: ImageData, parameters: int) -> Iterator[str]:
        height, width = data.train.images.shape[1:3]
        held_out = f", {len(data.val)} held-out" if data.test else ""
        yield (
            f"data: {options.dataset}, {_labels(options, data)}; {len(data.train)} training{held_out} and "
            f"{len(data.test or data.val)} test images of {width}x{height} from {data.train.source}"
        )
        for note in dict.fromkeys((*data.train.notes, *data.val.notes, *(data.test.notes if data.test else ()))):
            yield f"note: {note}"
        if data.test and not options.hold_out:
            yield "splits: epochs are chosen on val/, the test images are scored once, at the end"
        if options.auto_aug:
            yield f"augmentation: AutoAugment (CIFAR-10's policy, {options.auto_aug_policy}) before crop and mirror"
        yield (
            f"model: {self.model_name(options)}, {options.tag}, fusion {options.fusion}, "
            f"width x{options.channel_times}; {parameters:,} parameters"
        )

    def notes(self, options: Namespace, data: ImageData) -> Iterator[str]:
        has_val = find_dataset(options.dataset).has_val
        if has_val and options.val_fraction is None and has_val(Path(options.data_dir).expanduser()):
            if options.hold_out:
                yield "note: val/ is not read: --hold-out takes the images to choose epochs by from training"
            elif data.test is None:
                yield "note: val/ is not read: the run began by choosing epochs on the test images, and goes on so"

    def figure(self, record: Record) -> str:
        hits, images = round(record["val"] * record["val_images"]), record["val_images"]
        return (
            f"accuracy {record['val']:.4f} ({hits} of {images} {'held-out' if 'held_out' in record else 'test'} images)"
        )

    def best_file(self, options: Namespace, best: Record) -> str:
        """The authors' name of a best parameter file: ``0.8357-cifar100-ASKCFuse-resnet-32-c-4-s-1-best.params``."""
        from ..nn.names import key_of

        host, depth = options.model, str(_depth(options))
        if host == "resnext":
            host, depth = "resneXt", f"{depth}-{64 if options.channel_times == 8 else 32}x4"
        return (
            f"{best['val']:.4f}-{options.dataset}-{key_of(options.fusion)}-{host}-{depth}"
            f"-c-{options.channel_times}-s-{options.start_layer}-best.params"
        )

    # ---- what can be done with it

    def supports(self, entry: ModelEntry) -> bool:
        return entry.network.task == "classification" and entry.input_size <= 32

    def data_facts(self, options: Namespace) -> Options:
        known = {
            "size": options.resize,
            "val_fraction": options.val_fraction,
            "images": options.test_images,
            "seed": options.seed,
        }
        if options.dataset == "cifar100":
            known["labels"] = options.labels
        return {**super().data_facts(options), **known}

    def loaded_data_facts(self, data: ImageData) -> Options:
        height, width = data.train.images.shape[1:3]
        return {"classes": data.train.classes, **({"size": width} if height == width else {})}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        if known.get("normalisation"):
            raise UsageError("--normalisation is for ImageNet networks: leave it out")
        name = known.get("dataset")
        size = known.get("size") or (find_dataset(name).size if name in list_datasets() else _SIZE)
        return NetworkInput(size, mean=CIFAR_MEAN, std=CIFAR_STD, classes=known_classes(known, outputs))

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        from .classification import score_classifier

        return score_classifier(trained, request)

    def model_args(self, options: Options) -> Tuple[str, Options]:
        host = f"cifar_{options['model']}" + (".paper" if options.get("tag") == "paper" else "")
        names = ("fusion", "r", "start_layer", "blocks", "channel_times", "deep_stem")
        return host, {name: options[name] for name in names}

    def ablation_recipe(self, epochs: int) -> List[str]:
        """Table 2's 400 epochs, with decays at 300 and 350 and the last 20 without mixup, scaled to ``epochs``."""
        scale = epochs / _PAPER_EPOCHS
        decays = ",".join(str(max(1, round(epoch * scale))) for epoch in _PAPER_DECAYS)
        mixup_off = str(max(1, round(_PAPER_MIXUP_OFF * scale)))
        table2 = ["--recipe", "paper", "--init", "kaiming", "--batch-as-given"]
        return [*table2, "--lr-decay-epoch", decays, "--mixup-off-epoch", mixup_off]


def load_split(options: Namespace, split: str) -> ImageSet:
    """The images of "train", "val" or "test", or as many of them as asked for, or those held out of the training's."""
    try:
        images = load_image_set(
            options.dataset,
            "train" if split == HELD_OUT else split,
            options.data_dir,
            options.labels,
            options.resize,
            val_fraction=options.val_fraction,
            seed=options.seed,
        )
    except UnequalImages as error:
        share = f" --val-fraction {options.val_fraction:g}" if options.val_fraction else ""
        raise UnequalImages(
            f"{error}, or train a network for photographs of any size: train_imagenet.py --data-dir "
            f"{shlex.quote(options.data_dir)}{share} --recipe finetune"
        ) from None
    if split in ("train", HELD_OUT) and options.hold_out:
        rest, held_out = images.hold_out(options.hold_out)
        images = held_out if split == HELD_OUT else rest
    count = {"train": options.train_images, "test": options.test_images}.get(split)
    return images if count is None else images.subset(count, options.seed)


def has_own_val(options: Namespace) -> bool:
    """Whether epochs are chosen by val/ of the data set; a run that began when they never were goes on without."""
    record = find_dataset(options.dataset)
    if options.val_fraction is not None or not (record.has_val and options.data_dir):
        return False
    if options.resume:
        from ..training.history import HISTORY, History

        began = History(Path(options.save_dir) / HISTORY).header().get("data", {})
        if "held_out" not in began:
            return False
    return record.has_val(Path(options.data_dir).expanduser())


def head_size(options: Namespace, classes: Sequence[str] = ()) -> int:
    """Outputs of the network: ``--classes``, else what the data set's record says, else the data's ``classes``.

    Where the data have not been read, and only they would tell, it is 100.
    """
    record = find_dataset(options.dataset)
    return options.classes or record.head or len(classes or record.class_names(options.labels) or range(100))


def _depth(options: Namespace) -> int:
    """A network's depth in its own counting."""
    return (9 if options.model == "resnext" else 6) * options.blocks + 2


def _labels(options: Namespace, data: ImageData) -> str:
    if options.dataset != "cifar100":
        return f"{data.outputs} classes"
    if options.labels != "coarse":
        return f"{options.labels} labels: {data.outputs} classes"
    return f"coarse labels: 20 labels on a {data.outputs}-way head" + (", as published" if data.outputs == 100 else "")


register_task(CIFAR())
