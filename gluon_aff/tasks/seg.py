"""Segmentation into foreground and background, the paper's FPN experiments, or into several classes."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from statistics import median
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

import mxnet as mx

from ..data import PairLoader, PairSet, TrainPairs, find_dataset, list_datasets
from ..data.class_names import ClassNames
from ..data.decoding import IGNORED
from ..data.pairs import IMAGENET_MEAN, IMAGENET_STD
from ..data.pictures import NetworkInput
from ..errors import UsageError
from ..evaluation import Report, ScoreRequest, TrainedNetwork
from ..models import FPN, ModelEntry
from ..nn import canonical_fusion
from ..segmentation.losses import CLASS_LOSS, batch_iou, batch_miou, segmentation_loss, softmax_cross_entropy
from ..training import Job, Stop
from ..training.history import epoch_line
from .final_test import FinalTest
from .options import seg as options_of_seg
from .options.parser import OptionParser
from .parts import Data, Setup, make_job, make_network, smaller_batch
from .register import register_task
from .seg_data import AnyScore, load_split, load_training, score
from .seg_scoring import complete_scoring, score_and_predict, score_pairs, scores
from .task import Options, Record, Task

_SIZE = 512  # of images of which nothing is known
_SMALL = 0.002  # of an image: 23x23 pixels of 512x512, 6x6 where the std stem's maps are fused


@dataclass
class PairData(Data):
    """``train`` in the loader's batches; ``val`` is scored image by image at the base size.

    Without --hold-out ``val`` is --val-split, and ``test`` is None.
    """

    loader: PairLoader
    train: PairSet
    val: PairSet
    test: Optional[PairSet] = None


class Segmentation(Task):
    """Segmentation by a feature pyramid network, into foreground and background or into several classes."""

    name = "seg"
    description = options_of_seg.DESCRIPTION
    metric = "IoU"
    ablation_hosts = {"fpn": "fpn_resnet20"}
    ablation_strategies = ("gau",)  # in the published figures of its siblings
    paper_setting = "StopSign, a part of COCO"
    paper_figures = "most likely IoU on StopSign"

    # ---- options

    def add_options(self, parser: OptionParser) -> None:
        options_of_seg.add_options(parser)

    def datasets(self) -> Sequence[str]:
        return list_datasets(masks=True)

    def complete(self, options: Options) -> None:
        """Fill in the splits of the data set."""
        train, val = find_dataset(options["dataset"], masks=True).splits
        options["train_split"] = options["train_split"] or train
        options["val_split"] = options["val_split"] or val
        several, record = options["classes"] > 1, find_dataset(options["dataset"], masks=True)
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
        """A recipe's loss is for foreground and background."""
        if given.get("classes", 1) > 1:
            values.pop("loss", None)

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        record = find_dataset(options["dataset"], masks=True)
        if not options["hold_out"]:
            yield "final_test", "without --hold-out"
        if "category" not in record.options:
            yield "category", f"with --dataset {record.name}"

    def model_name(self, options: Namespace) -> str:
        """``aff_fpn_resnet20`` and the like."""
        prefix = "" if options.fusion == "add" else f"{canonical_fusion(options.fusion)}_"
        return f"{prefix}fpn_resnet{6 * options.blocks + 2}"

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> PairData:
        train, held_out = load_training(options)
        test = load_split(options, options.val_split, options.test_images)
        val = held_out or test
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
        outputs = options.classes if options.classes > 1 else None
        facts = {
            **{"name": train.name, "train": len(train), "test": len(test)},
            **({"classes": outputs} if outputs else {}),
            **({"held_out": len(held_out)} if held_out else {}),
        }
        return PairData(loader, facts, outputs, train, val, test if held_out else None)

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        return make_network(
            "fpn_resnet20",
            options,
            ctx,
            blocks=options.blocks,
            channel_times=options.channel_times,
            stem=options.stem,
            decoder=options.decoder,
            authors_fusion=options.authors_fusion,
            **({"classes": options.classes} if options.classes > 1 else {}),
        )

    def job(self, options: Namespace, setup: Setup, data: Data, net: mx.gluon.HybridBlock) -> Job:
        assert isinstance(data, PairData)
        if options.crop_size % net.divisor:
            good = max(round(options.crop_size / net.divisor), 1) * net.divisor
            raise UsageError(
                f"--crop-size {options.crop_size}: the {options.stem} stem needs a multiple of {net.divisor}, as "
                f"{good} is"
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
            loss=softmax_cross_entropy if several else segmentation_loss(options.loss),
            metric=batch_miou if several else batch_iou,
            metric_name="miou" if several else "iou",
            evaluate=evaluate,
        )

    def test(self, options: Namespace, setup: Setup, data: Data, net: mx.gluon.HybridBlock) -> FinalTest:
        """Of several classes no image has a share: their figure is a mean over classes."""
        assert isinstance(data, PairData) and data.test
        found = score(net, data.test, options, setup.devices)
        assert found is not None
        images = getattr(found, "images", [])
        return FinalTest(_record(found), [(image.name, image.intersection, image.union) for image in images])

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        images = len(load_training(options)[0])
        return max(1, images // (options.batch_size * devices))

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        return (1, 3, options.crop_size, options.crop_size)

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: Data, parameters: int) -> Iterator[str]:
        assert isinstance(data, PairData)
        test = f"; test: {data.test.note}" if data.test else ""
        yield f"data: {data.train.note}; validation: {data.val.note}{test}; from {data.train.source}"
        yield (
            f"model: {self.model_name(options)}, {options.stem} stem, {options.decoder} decoder, fusion "
            f"{options.fusion}, width x{options.channel_times}; {parameters:,} parameters"
        )
        yield (
            f"images: base size {options.base_size}, crops of {options.crop_size} in training, "
            f"validation at {options.base_size}x{options.base_size}; loss {options.loss}"
        )

    def notes(self, options: Namespace, data: Data) -> Iterator[str]:
        assert isinstance(data, PairData)
        yield from smaller_batch(data)
        yield from small_targets(options, data.train)

    def metric_of(self, options: Namespace) -> str:
        several = getattr(options, "classes", 1) > 1  # runs of earlier versions do not say
        return "mIoU" if several else self.metric

    def figure(self, record: Record) -> str:
        if "class_iou" in record:
            accuracy = record["pixel_accuracy"]
            return f"mIoU {record['val']:.4f}, pixAcc {accuracy:.4f} ({record['val_images']} images)"
        return f"IoU {record['val']:.4f}, nIoU {record['niou']:.4f} ({record['val_images']} images)"

    def log_line(self, record: Record) -> str:
        """The line of our other logs, and GluonCV's figures behind it."""
        if "class_iou" in record:
            return f"{epoch_line(record)} validation pixAcc: {record['pixel_accuracy']:.3f}, mIoU: {record['val']:.4f}"
        figures = "validation pixAcc: {pixel_accuracy:.3f}, mIoU: {miou:.3f}, IoU: {val:.4f}, nIoU: {niou:.4f}"
        return f"{epoch_line(record)} {figures.format(**record)}"

    # ---- what can be done with it

    def supports(self, entry: ModelEntry) -> bool:
        return issubclass(entry.network, FPN)

    def data_facts(self, options: Namespace) -> Options:
        known = {"size": options.base_size, "val_fraction": options.val_fraction, "seed": options.seed}
        return {**super().data_facts(options), **known}

    def loaded_data_facts(self, data: Data) -> Options:
        assert isinstance(data, PairData)
        return {} if data.train.class_names is None else {"classes": data.train.class_names}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        names = ClassNames(known["classes"]) if known.get("classes") else None
        return NetworkInput(known.get("size") or _SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, classes=names)

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        return score_pairs(self, trained, request)

    def model_args(self, options: Options) -> Tuple[str, Options]:
        return "fpn_resnet20", {name: options[name] for name in ("fusion", "r", "blocks", "channel_times")}

    # ---- the command line

    def completed(self, given: Options) -> Namespace:
        """With --eval or --predict, ``trained`` is the run or file to be scored; see `seg_scoring`."""
        return complete_scoring(self, given) if scores(given) else super().completed(given)

    def run(self, options: Namespace) -> int:
        if (options.eval or options.predict) and not (options.print_recipe or options.summary):
            return score_and_predict(self, options)
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


def _record(found: AnyScore) -> Dict[str, Any]:
    """A score's figures under the names of `EpochRecord`."""
    figures = found.result()
    others = {name: value for name, value in figures.items() if name not in ("iou", "images")}
    return {"val": figures[found.merit], "val_images": figures["images"], **others}


register_task(Segmentation())
