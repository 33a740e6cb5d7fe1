"""Segmentation into foreground and background, the paper's FPN experiments, or into several classes."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence, Tuple

from ..data import PairLoader, PairSet, TrainPairs, find_dataset, list_datasets
from ..data.decoding import IGNORED
from ..data.pairs import IMAGENET_MEAN, IMAGENET_STD
from ..data.pictures import NetworkInput
from ..data.registry import ClassNames
from ..errors import UsageError
from ..segmentation.losses import CLASS_LOSS, LOSSES
from ..training.history import epoch_line
from ..utils.arguments import MAX_SIDE, number
from ..utils.console import progress
from ..utils.outputs import Reads, Writes
from . import options as groups
from .config import flag
from .options import COMMAND, COUNT, FREE, SIDE, OptionParser, Switch
from .setup import Data, Setup
from .task import Options, Record, Task, register_task

if TYPE_CHECKING:
    import mxnet as mx

    from ..evaluation import Report, ScoreRequest, TrainedNetwork
    from ..models import ModelEntry
    from ..segmentation.scores import AnyScore
    from ..training import Job, Stop
    from .final_score import FinalScore

MODELS = ("fpn", "unet")
_SIZE = 512  # of images of which nothing is known
_SMALL = 0.002  # of an image: 23x23 pixels of 512x512, 6x6 where the std stem's maps are fused


_REFUSED = {
    "--start_epoch": "a run continues from its own checkpoint, see --resume",
    "--start-epoch": "a run continues from its own checkpoint, see --resume",
    "--no-val": "the best checkpoint is chosen by validation; --test-images N makes it shorter",
    "--aux": "the network has no auxiliary head",
    "--log-interval": "there is a progress bar within an epoch and a line after it",
}


@dataclass
class PairData(Data):
    """``train`` in the loader's batches; ``val`` is scored image by image at the base size.

    Without --hold-out ``val`` is --val-split, and ``test`` is None.
    """

    loader: PairLoader
    train: PairSet
    val: PairSet
    test: Optional[PairSet] = None


class Segmentation(Task[PairData]):
    """Segmentation by a decoder that fuses long skips, into foreground and background or into several classes."""

    name = recipes = "seg"
    description = "Train an FPN or U-Net with attentional feature fusion to find what a mask marks."
    metric = "IoU"
    ablation_hosts = {"fpn": "fpn_resnet20", "unet": "unet_resnet20"}
    ablation_strategies = ("gau",)  # in the published figures of its siblings
    paper_setting = "StopSign, a part of COCO"
    paper_figures = "most likely IoU on StopSign"

    # ---- options

    def add_options(self, parser: OptionParser) -> None:
        data = groups.data_options(parser, list_datasets(masks=True), "coco")
        add = data.add_argument
        parser.alias("--num-data-workers", "--workers")
        parser.revise("--dataset", type=_dataset)
        add("--category", default="stop sign", help="coco: what to find (default: %(default)s)")
        add("--download", action="store_true", help="coco: fetch the images that hold the category", role=COMMAND)
        add("--mask-threshold", type=number(int, 1, 255), help="folder: mask values from here on are foreground")
        text = "folder: mask pixels of this value count neither in the loss nor in a score"
        add("--mask-ignore", type=number(int, 0, 65535), metavar="VALUE", help=text)
        for name, default in (("--train-split", "sirst trainval, else train"), ("--val-split", "sirst test, else val")):
            text = f"a list of the data set, such as idx_320/test, or a .txt file of ids (default: {default})"
            add(name, type=Reads(), metavar="NAME|FILE", help=text)
        add("--base-size", type=number(int, 2, MAX_SIDE), default=512, metavar="PIXELS", help="(%(default)s)")
        add("--crop-size", type=SIDE, default=480, metavar="PIXELS", help="of the training images (%(default)s)")
        groups.val_fraction_option(data)
        groups.hold_out_options(data)
        text = "folder: masks hold K class numbers, 0 for the background, 255 for what does not count (default: "
        text += "foreground and background)"
        add("--classes", type=number(int, 1, 255), default=1, metavar="K", help=text)
        add = groups.model_options(parser, MODELS).add_argument
        parser.revise("--model", type=_model)
        parser.alias("--fusion", "--fuse-mode")
        parser.alias("--sync-bn", "--syncbn")
        add("--blocks", type=COUNT, default=3, metavar="B", help="blocks per stage (%(default)s)")
        add("--channel-times", type=COUNT, default=1, help="width (default: %(default)s)")
        add(
            "--stem", choices=("std", "tiny"), default="std", help="std halves the size twice, tiny never (%(default)s)"
        )
        add("--tiny", dest="stem", action="store_const", const="tiny", help="--stem tiny, for small targets")
        add("--decoder", choices=("reduce", "expand"), default="reduce", help="see docs/segmentation.md (%(default)s)")
        text = "iaff, ms_se: as the paper-time code had them, both stages of iAFF doubled, MS-SE attending X + Y"
        add("--authors-fusion", action=Switch, help=text)
        add = groups.optimisation_options(parser).add_argument
        parser.alias("--wd", "--weight-decay")
        text = f"(default: softiou; with --classes {CLASS_LOSS}, the softmax's cross-entropy)"
        add("--loss", choices=[*sorted(LOSSES), CLASS_LOSS], help=text)
        add = groups.run_options(parser).add_argument
        add("--no-cuda", dest="gpus", action="store_const", const="", help="--gpus ''")
        add("--checkname", dest="save_dir", type=Writes(folder=True, run=True), metavar="RUN", help="--save-dir")
        add = parser.add_argument_group("scoring").add_argument
        text = "of validation (default: %(default)s)"
        add("--test-batch-size", type=COUNT, default=16, metavar="N", help=text, role=FREE)
        text = "score the run or weights of --resume on --val-split, and leave"
        add("--eval", action="store_true", help=text, role=COMMAND)
        text = "as --eval, and write masks, overlays and contact sheets there"
        add("--predict", type=Writes(folder=True, masks=True), metavar="DIR", help=text, role=COMMAND)
        text = "with --predict: images of your own, a file, folder or zip"
        add("--images", type=Reads(pictures=True), metavar="PLACE", help=text, role=COMMAND)
        parser.refuse(_REFUSED)
        parser.set_defaults(
            optimizer="adagrad", lr=0.01, lr_mode="poly", poly_power=0.9, num_epochs=300, batch_size=32, init="kaiming"
        )

    def datasets(self) -> Sequence[str]:
        return list_datasets(masks=True)

    def complete(self, options: Options) -> None:
        """Fill in the splits of the data set."""
        several, record = options["classes"] > 1, find_dataset(options["dataset"], masks=True)
        train, val = record.splits
        options["train_split"] = options["train_split"] or train
        options["val_split"] = options["val_split"] or val
        for name in ("train_split", "val_split"):
            own = Path(options[name]).expanduser()
            if own.suffix.lower() == ".txt" and own.is_file():  # resumed from anywhere
                options[name] = os.path.abspath(own)
        if several and "classes" not in record.options:
            raise UsageError(
                f"--classes {options['classes']}: {record.name} marks foreground and background, leave it out"
            )
        options["loss"] = options["loss"] or (CLASS_LOSS if several else "softiou")
        if several != (options["loss"] == CLASS_LOSS):
            kind = f"--classes {options['classes']}" if several else "foreground and background"
            raise UsageError(f"--loss {options['loss']} is not for {kind}: leave it out")

    def default_recipe(self, options: Options) -> Optional[str]:
        return find_dataset(options["dataset"], masks=True).recipe

    def adapt_recipe(self, values: Options, given: Options) -> None:
        """A recipe's loss is for foreground and background, its splits are those of its data set."""
        if given.get("dataset", values.get("dataset")) != values.get("dataset"):
            values.pop("train_split", None)
            values.pop("val_split", None)
        if given.get("classes", 1) > 1:
            values.pop("loss", None)

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        record = find_dataset(options["dataset"], masks=True)
        if not options["hold_out"]:
            yield "final_test", "without --hold-out"
        if "category" not in record.options:
            yield "category", f"with --dataset {record.name}"

    def model_name(self, options: Namespace) -> str:
        """``aff_fpn_resnet20``, ``acm_unet_resnet26`` and the like."""
        return f"{groups.fusion_prefix(options.fusion)}{options.model}_resnet{6 * options.blocks + 2}"

    @property
    def _own(self) -> bool:
        """Whether a task derived from this one has another network, to which stem, decoder and the like are nothing."""
        return type(self).network is not Segmentation.network

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> PairData:
        from .seg_validation import load_split

        train, held_out = load_training(options)
        test = load_split(options, options.val_split, options.test_images)
        val = held_out or test
        for part in filter(None, (train, held_out)):
            groups.check_shared(options, test.shared_with(part))
        setup.check_enough(len(train))
        batch_size = options.batch_size * setup.parts
        loader = PairLoader(
            train,
            batch_size,
            TrainPairs(options.base_size, options.crop_size, beyond=IGNORED if options.classes > 1 else 0),
            shuffle=True,
            last="drop" if len(train) >= batch_size * setup.group.size else "keep",
            seed=options.seed,
            workers=options.num_data_workers,
            shard=setup.shard,
        )
        lists = {part: pairs.listed["sha256"] for part, pairs in (("train", train), ("test", test)) if pairs.listed}
        facts = {
            **{"name": train.name, "train": len(train), "test": len(test)},
            **({"lists": lists} if lists else {}),
            **({"classes": options.classes} if options.classes > 1 else {}),
            **({"held_out": len(held_out)} if held_out else {}),
            "files": {"train": train.digest, "test": test.digest},
        }
        return PairData(loader, facts, options.classes, train, val, test if held_out else None)

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        from .parts import make_network

        return make_network(
            f"{options.model}_resnet20",
            options,
            ctx,
            {
                "classes": options.classes if options.classes > 1 else None,
                "decoder": options.decoder if options.decoder != "reduce" else None,
            },
            blocks=options.blocks,
            channel_times=options.channel_times,
            stem=options.stem,
            authors_fusion=options.authors_fusion,
        )

    def job(self, options: Namespace, setup: Setup, data: PairData, net: mx.gluon.HybridBlock) -> Job:
        from ..models.common import output_shape
        from ..segmentation.losses import batch_iou, batch_miou, softmax_cross_entropy
        from .parts import make_job
        from .seg_validation import score

        divisor = getattr(net, "divisor", 1)  # of a network of one's own it may not be known
        if options.crop_size % divisor:
            good = max(round(options.crop_size / divisor), 1) * divisor
            raise UsageError(
                f"--crop-size {options.crop_size}: the {options.stem} stem needs a multiple of {divisor}, as {good} is"
            )
        for option in ("crop_size", "base_size"):
            size = getattr(options, option)
            given, wanted = output_shape(net, (1, 3, size, size)), (1, options.classes, size, size)
            if given != wanted:
                raise UsageError(
                    f"{flag(option)} {size}: the network gives {given or 'no maps'} for an image of this size, "
                    f"expected {wanted}: take a multiple of what it divides sizes by, or mend the network"
                )

        def evaluate(net: mx.gluon.Block, stop: Stop) -> Optional[Dict[str, Any]]:
            """Every rank scores the whole set: the figures are not sums over images."""
            found = score(net, data.val, options, setup.devices, stop)
            if setup.group.agree(stop) or found is None:
                return None
            return {**_record(found), **({"held_out": len(data.val)} if data.test else {})}

        several = options.classes > 1

        return make_job(
            options,
            setup,
            net,
            data.loader,
            targets=lambda images, masks, epoch, batch: list(zip(images, masks)),
            loss=softmax_cross_entropy if several else LOSSES[options.loss],
            metric=batch_miou if several else batch_iou,
            metric_name="miou" if several else "iou",
            evaluate=evaluate,
        )

    def test(self, options: Namespace, setup: Setup, data: PairData, net: mx.gluon.HybridBlock) -> FinalScore:
        """Of several classes no image has a share: their figure is a mean over classes."""
        from .final_score import FinalScore
        from .seg_validation import score

        assert data.test
        found = score(net, data.test, options, setup.devices)
        assert found is not None
        images = getattr(found, "images", [])
        return FinalScore(_record(found), [(image.name, image.intersection, image.union) for image in images])

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        images = len(load_training(options)[0])
        return max(1, images // (options.batch_size * devices))

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        return (1, 3, options.crop_size, options.crop_size)

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: PairData, parameters: int) -> Iterator[str]:
        test = f"; test: {data.test.note}" if data.test else ""
        yield f"data: {data.train.note}; validation: {data.val.note}{test}; from {data.train.source}"
        shared = (data.test or data.val).shared_with(data.train)
        if shared:
            yield f"note: {shared}"
        network = f"fusion {options.fusion}"
        if not self._own:
            decoder = f"{options.decoder} decoder, " if options.model == "fpn" else ""
            network = f"{options.stem} stem, {decoder}{network}, width x{options.channel_times}"
        yield f"model: {self.model_name(options)}, {network}; {parameters:,} parameters"
        yield (
            f"images: base size {options.base_size}, crops of {options.crop_size} in training, "
            f"validation at {options.base_size}x{options.base_size}; loss {options.loss}"
        )

    def notes(self, options: Namespace, data: PairData) -> Iterator[str]:
        if not self._own:
            yield from small_targets(options, data.train)
        yield from vanished_targets(options, data.val)

    def metric_of(self, options: Namespace) -> str:
        several = getattr(options, "classes", 1) > 1  # runs of earlier versions do not say
        return "mIoU" if several else self.metric

    def figure(self, record: Record) -> str:
        if "class_iou" in record:
            accuracy, miou = record["pixel_accuracy"], f"{record['val']:.4f}"
            if "present_miou" in record:
                miou += f" ({record['present_miou']:.4f} over the classes present)"
            return f"mIoU {miou}, pixAcc {accuracy:.4f} ({record['val_images']} images)"
        return f"IoU {record['val']:.4f}, nIoU {record['niou']:.4f} ({record['val_images']} images)"

    def log_line(self, record: Record) -> str:
        """The line of our other logs, and GluonCV's figures behind it."""
        if "class_iou" in record:
            return f"{epoch_line(record)} validation pixAcc: {record['pixel_accuracy']:.3f}, mIoU: {record['val']:.4f}"
        figures = "validation pixAcc: {pixel_accuracy:.3f}, mIoU: {miou:.3f}, IoU: {val:.4f}, nIoU: {niou:.4f}"
        return f"{epoch_line(record)} {figures.format(**record)}"

    # ---- what can be done with it

    def supports(self, entry: ModelEntry) -> bool:
        return entry.network.task == "segmentation"

    def data_facts(self, options: Namespace) -> Options:
        known = {"size": options.base_size, "val_fraction": options.val_fraction, "seed": options.seed}
        return {**super().data_facts(options), **known}

    def loaded_data_facts(self, data: PairData) -> Options:
        return {} if data.train.class_names is None else {"classes": data.train.class_names}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        names = ClassNames(known["classes"]) if known.get("classes") else None
        return NetworkInput(known.get("size") or _SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, classes=names)

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        from .seg_scoring import score_pairs

        return score_pairs(self, trained, request)

    def model_args(self, options: Options) -> Optional[Tuple[str, Options]]:
        if self._own:
            return None
        return f"{options['model']}_resnet20", {
            name: options[name] for name in ("fusion", "r", "blocks", "channel_times")
        }

    # ---- the command line

    def completed(self, given: Options) -> Namespace:
        """With --eval or --predict, ``trained`` is the run or file to be scored; see `seg_scoring`."""
        if given.get("images") and not given.get("predict"):
            raise UsageError("--images needs --predict DIR")
        if not (given.get("eval") or given.get("predict")):
            return super().completed(given)
        from .seg_scoring import complete_scoring

        return complete_scoring(self, given)

    def run(self, options: Namespace) -> int:
        if (options.eval or options.predict) and not (options.print_recipe or options.summary):
            from .seg_scoring import score_and_predict

            return score_and_predict(options)
        return super().run(options)


def small_targets(options: Namespace, train: PairSet) -> Iterator[str]:
    """A note that names the better recipe where a stem of stride 4 is to find targets of a few pixels."""
    shares = [share for share in train.foreground or () if share > 0]
    if options.stem != "std" or not shares or median(shares) > _SMALL:
        return
    side = max(1, round(median(shares) ** 0.5 * options.base_size))
    yield (
        f"note: the targets are small, half of the images have at most {side}x{side} pixels of {options.base_size}x"
        f"{options.base_size} marked: --recipe acm (stem of stride 1, AdaGrad 0.05, batch 8) was made for such, this "
        "stem works at a quarter of the resolution"
    )


def vanished_targets(options: Namespace, val: PairSet) -> Iterator[str]:
    """A note on targets that validation cannot see."""
    from ..segmentation.scores import vanished_objects, vanished_text

    if val.classes == 1:
        size = (options.base_size, options.base_size)
        counts = (vanished_objects(val.pair(index, aligned=False)[1], *size) for index in range(len(val)))
        text = vanished_text(progress(counts, len(val), "validation's targets", "mask"), *size)
        if text:
            yield f"note: in validation {text}: a larger --base-size keeps them"


def _record(found: AnyScore) -> Dict[str, Any]:
    """A score's figures under the names of `EpochRecord`."""
    figures = found.result()
    others = {name: value for name, value in figures.items() if name not in ("iou", "images")}
    return {"val": figures[found.merit], "val_images": figures["images"], **others}


def _dataset(text: str) -> str:
    """The paper's name of its data set is accepted, too."""
    return "coco" if text.lower() == "stopsign" else text


def _model(text: str) -> str:
    """The names of "Asymmetric Contextual Modulation" are accepted, too."""
    return {"ResNetFPN": "fpn", "ResUNet": "unet"}.get(text, text)


def load_training(options: Namespace) -> Tuple[PairSet, Optional[PairSet]]:
    """What a run trains on, and with ``--hold-out`` what of the training images it validates on."""
    from .seg_validation import load_split

    if not options.hold_out:
        return load_split(options, options.train_split, options.train_images), None
    rest, held_out = load_split(options, options.train_split).hold_out(options.hold_out)
    count = options.train_images
    return rest if count is None else rest.subset(count, options.seed), held_out


register_task(Segmentation())
