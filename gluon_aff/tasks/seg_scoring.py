"""Scores and predictions of a segmentation network: ``train_seg.py --eval`` and ``--predict``, `gluon-aff evaluate`."""

from __future__ import annotations

import re
import shlex
import sys
from argparse import Namespace
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import mxnet as mx

from .._version import __version__
from ..data import PairSet, find_dataset, list_datasets
from ..data.class_folders import ClassFolders
from ..data.pairs import ALL, Pair, align, holds_pairs
from ..data.picture_files import find_pictures
from ..data.trees import open_file_tree
from ..errors import GluonAFFError, UsageError
from ..evaluation import ScoreRequest, TrainedNetwork
from ..runtime import devices
from ..segmentation.pictures import Item, predicted_pixels, write_predictions
from ..segmentation.report import AnyReport, segmentation_report
from ..segmentation.scores import COCO_LIMITS, ClassScore, SegmentationScore, vanished_objects, vanished_text
from ..segmentation.targets import TargetScore
from ..training.history import environment
from ..utils.files import FileNames, last_name
from ..utils.logits import resized_logits
from ..utils.outputs import Writes, claim
from .config import complete_options
from .opening import FinishedRun, commits_of, config_of, open_network, read_run
from .predicting import write_predicted
from .seg_validation import empty_score, load_split, predictions
from .task import Options, Task

_NETWORK = ("model", "fusion", "r", "blocks", "channel_times", "stem", "decoder", "classes")


def complete_scoring(task: Task, given: Options) -> Namespace:
    """Return every option of a score; ``trained`` is the run or file.

    A run brings its own options, of which those of the data may be overridden. Raises UsageError.
    """
    given = dict(given)
    place = given.pop("resume", None)
    if place is True:
        place = given.get("save_dir") or str(last_name(task.directory(complete_options(task, given))))
    place = place or given.pop("resume_from", None)
    if place is None:
        raise UsageError("--eval and --predict need a trained network: give --resume RUN, or --resume-from FILE")
    path, run = Path(place).expanduser(), None
    if path.is_dir():
        run = read_run(path)
        _check_run(task, run, given)
        given.setdefault("config", str(config_of(run.checkpoint)))
    options = complete_options(task, given)
    options.trained, options.given = run or path, [name for name in _NETWORK if name in given]
    return options


def _check_run(task: Task, run: FinishedRun, given: Options) -> None:
    """Raise UsageError for a run of another script, or of another network than is asked for."""
    if run.task is not task:
        raise UsageError(f"{run.checkpoint} is not a checkpoint of train_seg.py")
    for name in _NETWORK:
        has = getattr(run.options, name)
        if given.get(name, has) != has:
            raise UsageError(f"the run's network has --{name.replace('_', '-')} {has}, not {given[name]}: leave it out")


def score_and_predict(options: Namespace) -> int:
    """Score ``options.trained`` and write what is asked for; 0.

    The report goes to --predict's directory, else into eval-<data set>-<split> in the run; of a file that is in no run,
    to --save-dir, else runs/<file>-eval-<data set>-<split>.
    """
    contexts = devices.pick(options.gpus)
    trained = _open(options, contexts)
    options.classes = trained.outputs
    name, beside = f"eval-{options.dataset}-{_as_name(options.val_split)}", trained.file.parent
    if (beside / "state.json").is_file():
        default = beside / name
    else:
        default = Path(options.save_dir or Path("runs") / FileNames()(f"{trained.file.stem}-{name}"))
    out = Path(options.predict or default)
    if options.images:
        trained.input = replace(trained.input, size=options.base_size)
        chosen = find_pictures([options.images]).chosen
        batch_size, workers = options.test_batch_size * len(contexts), max(1, options.num_data_workers)
        tally, sheets = write_predicted(trained.predictor(), chosen, len(chosen), str(out), "csv", batch_size, workers)
        if not tally.images:
            raise GluonAFFError(f"none of the {len(chosen)} images of {options.images} can be read")
        print(f"{tally.images} images of {options.images}; masks/, overlays/ and {_named(sheets)}")
        return 0
    if not options.predict:
        claim(out, Writes(folder=True))
    report, sheets = _score(trained, options, contexts, environment(__version__), out if options.predict else None)
    print("\n".join(report.lines()))
    paths = report.write(out)
    print(f"report: {', '.join(path.name for path in paths)} in {out}")
    if options.predict:
        print(f"pictures: masks/, overlays/ and {_named(sheets)}")
    return 0


def _open(options: Namespace, contexts: List[mx.Context]) -> TrainedNetwork:
    """The network that ``options.trained`` are of."""
    if isinstance(options.trained, FinishedRun):
        return open_network(options.trained, devices=contexts)
    if options.given:
        settings = {name: getattr(options, name) for name in (*_NETWORK[1:], "authors_fusion")}
        return open_network(str(options.trained), f"{options.model}_resnet20", settings, contexts)
    trained = open_network(str(options.trained), devices=contexts)
    if not trained.segments:
        kind = type(trained.net).__name__
        raise UsageError(f"{trained.file} holds the weights of a {kind}, which is not a segmentation network")
    return trained


def score_pairs(task: Task, trained: TrainedNetwork, request: ScoreRequest) -> AnyReport:
    """Score a run on its own data, or a network on what the user says.

    Raises UsageError when neither tells the data set, and for options that it has not.
    """
    request.refuse("segmentation", "labels", "normalisation", "ground_truth", "protocol", "skip_bad", "skip_unknown")
    given, dataset = request.data, request.data.get("dataset", trained.data.get("dataset"))
    if dataset is None:
        names = "|".join(list_datasets(masks=True))
        raise UsageError(f"no data set is known for these weights: give --dataset {names}")
    _check_masks(trained, dataset, given.get("data"))
    if trained.options is None or dataset != trained.options.dataset:
        options = complete_options(task, {"dataset": dataset})
        options.base_size = trained.data.get("size") or options.base_size
        options.seed = trained.data.get("seed", options.seed)
    else:
        options = Namespace(**vars(trained.options))
    same_place = _same_place(given.get("data", options.data_dir), options.data_dir)
    options.val_fraction = given.get("val_fraction", options.val_fraction if same_place else None)
    options.data_dir = given.get("data", options.data_dir)
    options.base_size = given.get("size", options.base_size)
    split = given.get("split") or (options.val_split if same_place else _split_elsewhere(options, trained))
    if split != options.val_split:
        options.val_split, options.test_images = split, None
    options.download, options.num_data_workers = False, request.workers
    options.test_batch_size = request.batch_size or options.test_batch_size
    options.classes = trained.outputs
    if request.threshold is not None and trained.outputs > 1:
        raise UsageError(
            "`threshold` is for foreground and background; of classes the largest logit counts: leave it out"
        )
    threshold = 0.5 if request.threshold is None else request.threshold
    return _score(trained, options, request.devices, dict(request.environment), None, threshold)[0]


def _check_masks(trained: TrainedNetwork, dataset: str, place: Optional[str]) -> None:
    """Raise UsageError for images in classes."""
    path, masked = Path(place or "").expanduser(), list_datasets(masks=True)
    if dataset in masked or dataset not in (*list_datasets(), "imagenet"):
        pairs = find_dataset(dataset, masks=True).undivided is not None
        if not (pairs and place and path.exists()) or holds_pairs(path):
            return
        if not any(split.classes for split in ClassFolders(open_file_tree(path)).splits.values()):
            return
    raise UsageError(
        f"{trained.title} is a segmentation network, and {place or dataset} has images in classes, without masks: give "
        f"a folder of images/ and masks/, or a data set of {', '.join(masked)}; or the weights of a classifier"
    )


def _same_place(one: Optional[str], other: Optional[str]) -> bool:
    places = [place and Path(place).expanduser().resolve() for place in (one, other)]
    return places[0] == places[1]


def _split_elsewhere(options: Namespace, trained: TrainedNetwork) -> str:
    """What is scored of data that the weights were not trained on: every image where no part is named; a note tells."""
    place, undivided = Path(options.data_dir).expanduser(), find_dataset(options.dataset, masks=True).undivided
    own_list = Path(options.val_split).expanduser().is_file()
    if options.val_fraction or own_list or not undivided or not place.exists() or not undivided(place):
        return str(options.val_split)
    fraction = trained.data.get("val_fraction")
    more = (
        f"; if the weights were trained on it, --val-fraction {fraction:g} scores what was held out" if fraction else ""
    )
    print(f"note: {place} has no lists of splits, all its images are scored{more}", file=sys.stderr)
    return ALL


def _score(
    trained: TrainedNetwork,
    options: Namespace,
    contexts: List[mx.Context],
    about: Dict[str, Any],
    pictures: Optional[Path],
    threshold: float = 0.5,
) -> Tuple[AnyReport, List[Path]]:
    """The report, and the contact sheets of the predictions, which go to ``pictures`` if that is given."""
    pairs = load_split(options, options.val_split, options.test_images)
    targets = _target_score(threshold) if pairs.classes == 1 else None
    limits = find_dataset(options.dataset, masks=True).size_limits or COCO_LIMITS
    found, size = empty_score(pairs, limits, targets, threshold), (options.base_size, options.base_size)
    decoded: Dict[str, Pair] = {}  # read for the network, wanted once more at their own size
    vanished: List[Tuple[int, int]] = []

    def read(name: str) -> Pair:
        decoded[name] = pairs.read(name)
        if pairs.classes == 1:
            vanished.append(vanished_objects(decoded[name][1], *size))
        return decoded[name]

    once = PairSet(
        *(pairs.name, pairs.source, pairs.names, read, pairs.note),
        cache_bytes=0,
        classes=pairs.classes,
        own_sizes=pairs.own_sizes,
        ignores=pairs.ignores,
    )

    def items() -> Iterator[Item]:
        for logits, masks, chosen in predictions(trained.forward, once, options, contexts):
            names = [pairs.names[index] for index in chosen]
            originals = [align(*decoded.pop(name)) for name in names]
            found.add(logits, masks, names, [(mask.shape[0], mask.shape[1]) for _, mask in originals])
            scored = found.images[-len(names) :] if isinstance(found, SegmentationScore) else ()
            figures = [image.figure for image in scored] or names  # of classes it is not shown
            for name, (image, mask), logit, figure in zip(names, originals, logits if pictures else (), figures):
                logit = resized_logits(logit, *mask.shape[:2])
                yield Item(name, image, mask, predicted_pixels(logit, threshold), logit[0], figure)

    sheets: List[Path] = []
    if pictures:
        classes = pairs.class_names or trained.classes or ClassScore(options.classes).names
        sheets = write_predictions(pictures, items(), classes if options.classes > 1 else ())
    else:
        deque(items(), maxlen=0)
    facts = {
        "weights": str(trained.file),
        "data": f"{pairs.note}; from {pairs.source}",
        "split": options.val_split,
        **({"split_list": pairs.listed} if pairs.listed else {}),
        "size": f"{options.base_size}x{options.base_size}",
        **({"vanished": text} if (text := vanished_text(vanished, *size)) else {}),
        "command": shlex.join(about.pop("command", [])),
        **about,
        **_about_run(trained),
        **(_stated(trained, options, len(pairs)) if threshold == 0.5 else {}),
    }
    return segmentation_report(found, facts), sheets


def _target_score(threshold: float) -> Optional[TargetScore]:
    """None, and a note, where the package for it is not installed."""
    try:
        return TargetScore(threshold)
    except GluonAFFError as error:
        print(f"note: {error}", file=sys.stderr)
        return None


def _about_run(trained: TrainedNetwork) -> Dict[str, Any]:
    """What a table or picture of several scores needs to know of a run; its epoch is counted from 0."""
    options = trained.options
    if options is None:
        return {}
    about = {name: getattr(options, name) for name in ("model", "fusion", "blocks", "base_size", "crop_size", "seed")}
    epoch = trained.claim.epoch if trained.claim else None
    commits = commits_of(trained.file.parent)
    return {"run": {**about, "epoch": epoch, "epochs": options.num_epochs, "commits": commits}}


def _stated(trained: TrainedNetwork, options: Namespace, images: int) -> Dict[str, Any]:
    """The published figure, where it is of these images."""
    claim = trained.claim
    if claim is None or (claim.dataset, claim.split, claim.images) != (options.dataset, options.val_split, images):
        return {}
    return {"stated": {"metric": claim.metric, "value": claim.value, "images": claim.images, "by": claim.by}}


def _as_name(split: str) -> str:
    """A split, perhaps a list's path, as a part of a folder's name."""
    name = split[:-4] if split.lower().endswith(".txt") else split
    return re.sub(r"[/\\]+", "-", name).strip("-.")[-100:]


def _named(paths: List[Path]) -> str:
    return ", ".join(str(path) for path in paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
