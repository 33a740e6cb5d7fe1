"""``train_seg.py --eval`` and ``--predict``: a trained network's figures and pictures."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections import deque
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

import mxnet as mx
import numpy as np

from .. import published
from .._version import __version__
from ..data import PairSet, find_dataset, list_datasets, load_images
from ..data.pairs import Pair
from ..errors import GluonAFFError, UsageError
from ..evaluation import ScoreRequest, TrainedNetwork
from ..evaluation.trained_network import head_width
from ..models import FPN
from ..runtime import devices
from ..runtime.threads import usable_cores
from ..segmentation.pictures import class_numbers, write_class_predictions, write_predictions
from ..segmentation.report import AnyReport, segmentation_report
from ..segmentation.scores import COCO_LIMITS, ClassScore
from ..training.history import environment
from ..utils.console import progress
from ..utils.logits import resized_logits
from ..utils.prefetch import prefetch
from .definition import Options, TaskDefinition
from .finished import FinishedRun, commits_of, config_of, open_run
from .options.completing import complete_options
from .seg_data import AnyScore, empty_score, load_split, predictions

_NETWORK = ("fusion", "r", "blocks", "channel_times", "stem", "decoder", "classes")


def scores(given: Options) -> bool:
    """Whether the options ask for a score. Raises UsageError for pictures without a prediction."""
    if given.get("images") and not given.get("predict"):
        raise UsageError("--images needs --predict DIR")
    return bool(given.get("eval") or given.get("predict"))


def complete_scoring(task: TaskDefinition, given: Options) -> Namespace:
    """Every option of a score; ``trained`` is the run or file.

    A run brings its own options, of which those of the data may be overridden. Raises UsageError.
    """
    given = dict(given)
    place = given.pop("resume", None)
    if place is True:
        place = given.get("save_dir") or str(complete_options(task, given).save_dir)
    place = place or given.pop("resume_from", None)
    if place is None:
        raise UsageError("--eval and --predict need a trained network: give --resume RUN, or --resume-from FILE")
    path, run = Path(place).expanduser(), None
    if path.is_dir():
        run = open_run(path)
        _check_run(task, run, given)
        given.setdefault("config", str(config_of(run.checkpoint)))
    options = complete_options(task, given)
    options.trained, options.given = run or path, [name for name in _NETWORK if name in given]
    return options


def score_and_predict(task: TaskDefinition, options: Namespace) -> int:
    """Score ``options.trained`` and write what is asked for; 0.

    The report goes to --predict's directory, else into eval-<data set>-<split> in the run or beside the file.
    """
    contexts = devices.pick(options.gpus)
    net, file = _network(task, options, contexts)
    options.classes = head_width(net) or 1
    out = Path(options.predict or file.parent / f"eval-{options.dataset}-{options.val_split}")
    if options.images:
        pairs = _readable(load_images(Path(options.images).expanduser()))
        sheets = _write_pictures(out, net, pairs, options, contexts, None)
        print(f"{len(pairs)} images of {options.images}; masks/, overlays/ and {_named(sheets)}")
        return 0
    run = options.trained
    about = environment(__version__)
    if isinstance(run, FinishedRun):
        figure = run.description["figure"] if run.description else None
        about.update(_about_run(run.options, run.checkpoint, figure["epoch"] if figure else None))
    report, sheets = _score(net, file, options, contexts, about, out if options.predict else None)
    print("\n".join(report.lines()))
    paths = report.write(out)
    print(f"report: {', '.join(path.name for path in paths)} in {out}")
    if options.predict:
        print(f"pictures: masks/, overlays/ and {_named(sheets)}")
    return 0


def score_pairs(task: TaskDefinition, trained: TrainedNetwork, request: ScoreRequest) -> AnyReport:
    """Score a run on its own data, or a network on what the user says.

    Raises
    ------
    UsageError
        When neither tells the data set, and for options that it has not.
    GluonAFFError
        For data that cannot be read.
    """
    request.refuse("segmentation", "labels", "normalisation", "ground_truth", "protocol", "skip_bad")
    given, dataset = request.data, request.data.get("dataset", trained.data.get("dataset"))
    if dataset is None:
        names = "|".join(list_datasets(masks=True))
        raise UsageError(f"no data set is known for these weights: give --dataset {names}")
    if trained.options is None or dataset != trained.options.dataset:
        options = complete_options(task, {"dataset": dataset})
        options.base_size = trained.data.get("size") or options.base_size
        options.seed = trained.data.get("seed", options.seed)
    else:
        options = Namespace(**vars(trained.options))
    same_place = given.get("data", options.data_dir) == options.data_dir
    options.val_fraction = given.get("val_fraction", options.val_fraction if same_place else None)
    options.data_dir = given.get("data", options.data_dir)
    options.base_size = given.get("size", options.base_size)
    options.download, options.num_data_workers = False, request.workers
    options.test_batch_size = request.batch_size or options.test_batch_size
    options.classes = trained.outputs
    about = dict(request.environment)
    if trained.options is not None:
        epoch = trained.claim.epoch if trained.claim else None
        about.update(_about_run(trained.options, trained.file.parent, epoch))
    return _score(trained.net, trained.file, options, request.devices, about, None)[0]


def _about_run(options: Namespace, checkpoint: Path, epoch: Optional[int]) -> Dict[str, Any]:
    """What weights are of, as far as a table or picture of several scores needs it; ``epoch`` is counted from 0."""
    names = ("fusion", "blocks", "base_size", "crop_size", "seed")
    about = {name: getattr(options, name) for name in names}
    return {"run": {**about, "epoch": epoch, "epochs": options.num_epochs, "commits": commits_of(checkpoint)}}


def _score(
    net: mx.gluon.HybridBlock,
    file: Path,
    options: Namespace,
    contexts: List[mx.Context],
    about: Dict[str, Any],
    pictures: Optional[Path],
) -> Tuple[AnyReport, List[Path]]:
    """The report, and the contact sheets of the predictions, which go to ``pictures`` if that is given."""
    pairs = load_split(options, options.val_split, options.test_images)
    found = empty_score(pairs, find_dataset(options.dataset, masks=True).size_limits or COCO_LIMITS)
    sheets: List[Path] = []
    if pictures:
        sheets = _write_pictures(pictures, net, pairs, options, contexts, found)
    else:
        deque(_items(net, pairs, options, contexts, found), maxlen=0)
    facts = {
        "weights": str(file),
        "data": f"{pairs.note}; from {pairs.source}",
        "size": f"{options.base_size}x{options.base_size}",
        "command": shlex.join(about.pop("command", [])),
        **about,
    }
    return segmentation_report(found, facts), sheets


def _readable(pairs: PairSet) -> PairSet:
    """Those images that can be read; the others are named on standard error. Raises GluonAFFError when none can."""

    def fault(name: str) -> Optional[GluonAFFError]:
        try:
            pairs.read(name)
        except GluonAFFError as error:
            return error
        return None

    cores = usable_cores()
    looked = prefetch(fault, pairs.names, cores, 4 * cores, "look")
    faults: List[Optional[GluonAFFError]] = list(progress(looked, len(pairs), "reading", "image"))
    for error in faults:
        if error is not None:
            print(f"left out: {error}", file=sys.stderr)
    good = [place for place, error in enumerate(faults) if error is None]
    if not good:
        raise GluonAFFError(f"none of the {len(pairs)} images of {pairs.source} can be read")
    return pairs.selected(good, pairs.note)


def _write_pictures(
    out: Path,
    net: mx.gluon.HybridBlock,
    pairs: PairSet,
    options: Namespace,
    contexts: List[mx.Context],
    score: Optional[AnyScore],
) -> List[Path]:
    """Masks, overlays and contact sheets; returns the sheets. ``score`` is added to on the way."""
    from scipy.special import expit

    items = _items(net, pairs, options, contexts, score)
    if options.classes == 1:
        return write_predictions(out, ((name, image, mask, expit(logits[0])) for name, image, mask, logits in items))
    names = pairs.class_names or _class_names(options.trained) or ClassScore(options.classes).names
    found = ((name, image, mask, class_numbers(logits)) for name, image, mask, logits in items)
    return write_class_predictions(out, found, names)


def _network(task: TaskDefinition, options: Namespace, contexts: List[mx.Context]) -> Tuple[mx.gluon.HybridBlock, Path]:
    """The network that ``options.trained`` are of, and their file."""
    if isinstance(options.trained, FinishedRun):
        return options.trained.network(contexts), options.trained.weights
    file = published.path_of(options.trained)
    if options.given:
        net = task.network(options, None, contexts)
        published.load(file, net)
    else:
        net = published.load(file, ctx=contexts)
        if not isinstance(net, FPN):
            raise UsageError(f"{file} holds the weights of a {type(net).__name__}, which is not a segmentation network")
        net.hybridize(static_alloc=True, static_shape=True)
    return net, file


def _check_run(task: TaskDefinition, run: FinishedRun, given: Options) -> None:
    """Raise UsageError for a run of another script, or of another network than is asked for."""
    if run.task is not task:
        raise UsageError(f"{run.checkpoint} is not a checkpoint of train_seg.py")
    for name in _NETWORK:
        has = getattr(run.options, name)
        if given.get(name, has) != has:
            raise UsageError(f"the run's network has --{name.replace('_', '-')} {has}, not {given[name]}: leave it out")


def _class_names(trained: Union[FinishedRun, Path]) -> Optional[List[str]]:
    """What a run says of its classes."""
    described = trained.description if isinstance(trained, FinishedRun) else None
    return described["input"]["classes"] if described and described["input"] else None


def _items(
    net: mx.gluon.HybridBlock,
    pairs: PairSet,
    options: Namespace,
    contexts: List[mx.Context],
    score: Optional[AnyScore],
) -> Iterator[Tuple[str, np.ndarray, Optional[np.ndarray], np.ndarray]]:
    """Name, image, mask and logits (classes, H, W) of every image, at its own size; on the way they are scored."""
    decoded: Dict[str, Pair] = {}  # read for the network, wanted once more at their own size

    def read(name: str) -> Pair:
        decoded[name] = pairs.read(name)
        return decoded[name]

    once = PairSet(pairs.name, pairs.source, pairs.names, read, pairs.note, cache_bytes=0, classes=pairs.classes)
    for logits, masks, chosen in predictions(net, once, options, contexts):
        names = [pairs.names[index] for index in chosen]
        originals = [decoded.pop(name) for name in names]
        if score is not None:
            score.add(logits, masks, names, [(mask.shape[0], mask.shape[1]) for _, mask in originals])
        for name, (image, mask), logit in zip(names, originals, logits):
            height, width = mask.shape
            yield name, image, None if score is None else mask, resized_logits(logit, height, width)


def _named(paths: List[Path]) -> str:
    return ", ".join(str(path) for path in paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
