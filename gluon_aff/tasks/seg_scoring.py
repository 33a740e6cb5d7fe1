"""``train_seg.py --eval`` and ``--predict``: a trained network's figures and pictures."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

import mxnet as mx

from .. import published
from .._version import __version__
from ..data import PairSet, load_images
from ..errors import UsageError
from ..models import FPN
from ..runtime import devices
from ..segmentation.pictures import Item, write_predictions
from ..segmentation.report import lines, write_segmentation_report
from ..segmentation.score import SegmentationScore
from ..segmentation.sizes import COCO_LIMITS
from ..training.history import environment
from .finished import FinishedRun, config_of, open_run
from .options.completing import complete_options
from .seg import load_split, predictions
from .task import Options, Task

_NETWORK = ("fusion", "r", "blocks", "channel_times", "stem", "decoder")
#: Areas in pixels at which medium and large objects begin, where COCO's would call every object small.
_SIZE_LIMITS = {"sirst": (16, 64)}


def scores(given: Options) -> bool:
    """Whether the options ask for a score. Raises UsageError for pictures without a prediction."""
    if given.get("images") and not given.get("predict"):
        raise UsageError("--images are there to be predicted: give --predict DIR, too")
    return bool(given.get("eval") or given.get("predict"))


def complete_scoring(task: Task, given: Options) -> Namespace:
    """Every option of a score; ``trained`` is the run or file.

    A run brings its own options, of which those of the data may be given anew. Raises UsageError.
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


def score_and_predict(task: Task, options: Namespace) -> int:
    """Score ``options.trained`` and write what is asked for; 0.

    The report goes to --predict's directory, else into eval-<data set>-<split> in the run or beside the file.
    """
    contexts = devices.pick(options.gpus)
    net, file = _network(task, options, contexts)
    out = Path(options.predict or file.parent / f"eval-{options.dataset}-{options.val_split}")
    if options.images:
        pairs = load_images(Path(options.images).expanduser())
        sheets = write_predictions(out, _items(net, pairs, options, contexts, None))
        print(f"{len(pairs)} images of {options.images}; masks/, overlays/ and {_named(sheets)}")
        return 0
    pairs = load_split(options, options.val_split, options.test_images)
    found = SegmentationScore(_SIZE_LIMITS.get(options.dataset, COCO_LIMITS))
    items = _items(net, pairs, options, contexts, found)
    sheets = write_predictions(out, items) if options.predict else [None for _ in items]
    about = environment(__version__)
    facts = {
        "weights": str(file),
        "data": f"{pairs.note}; from {pairs.source}",
        "size": f"{options.base_size}x{options.base_size}",
        "command": " ".join(about.pop("command")),
        **about,
    }
    paths = write_segmentation_report(out, found, facts)
    print("\n".join([f"weights        {file}", f"data           {facts['data']}", *lines(found)]))
    print(f"report: {', '.join(path.name for path in paths)} in {out}")
    if options.predict:
        print(f"pictures: masks/, overlays/ and {_named(sheets)}")
    return 0


def _network(task: Task, options: Namespace, contexts: List[mx.Context]) -> Tuple[mx.gluon.HybridBlock, Path]:
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
            raise UsageError(f"{file} holds the weights of a {type(net).__name__}, which segments nothing")
        net.hybridize(static_alloc=True, static_shape=True)
    return net, file


def _check_run(task: Task, run: FinishedRun, given: Options) -> None:
    """Raise UsageError for a run of another script, or of another network than is asked for."""
    if run.task is not task:
        raise UsageError(f"{run.checkpoint} is no checkpoint of train_seg.py")
    for name in _NETWORK:
        has = getattr(run.options, name)
        if given.get(name, has) != has:
            raise UsageError(f"the run's network has --{name.replace('_', '-')} {has}, not {given[name]}: leave it out")


def _items(
    net: mx.gluon.HybridBlock,
    pairs: PairSet,
    options: Namespace,
    contexts: List[mx.Context],
    score: Optional[SegmentationScore],
) -> Iterator[Item]:
    """Name, image, mask and probability of every image, at its own size; on the way they are added to the score."""
    import cv2
    from scipy.special import expit

    for logits, masks, chosen in predictions(net, pairs, options, contexts):
        originals = [pairs.pair(index) for index in chosen]
        names = [pairs.names[index] for index in chosen]
        if score is not None:
            score.add(logits, masks, names, [mask.shape for _, mask in originals])
        for name, (image, mask), logit in zip(names, originals, logits):
            height, width = mask.shape
            resized = cv2.resize(logit[0], (width, height), interpolation=cv2.INTER_LINEAR)
            yield name, image, None if score is None else mask, expit(resized)


def _named(paths: List[Path]) -> str:
    return ", ".join(str(path) for path in paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
