"""Pictures through a trained network of any kind, and what is written of them: tables, or masks and overlays."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.pairs import align
from ..data.picture_files import find_pictures
from ..data.pictures import AnyPicture, NetworkInput, checked, one_by_one
from ..data.registry import ClassNames
from ..data.text_lists import names_in
from ..deploy import Prediction, Predictor, predict_stream
from ..deploy.predicting import Item
from ..errors import GluonAFFError, UsageError
from ..evaluation import TrainedNetwork
from ..models import model_entry
from ..models.features import FeatureMaps
from ..segmentation.pictures import Item as SegmentedItem
from ..segmentation.pictures import predicted_pixels, write_predictions
from ..segmentation.scores import AnyScore, ClassScore, SegmentationScore
from ..utils.console import progress
from ..utils.files import atomic_write
from .opening import open_network
from .task import task_of_network

Images = Union[AnyPicture, Sequence[AnyPicture]]


def predict(
    net_or_weights: Any,
    images: Images,
    *,
    input: Optional[NetworkInput] = None,
    batch_size: int = 32,
    workers: int = 2,
    ctx: Optional[mx.Context] = None,
    engine: Optional[str] = None,
) -> List[Prediction]:
    """Predictions of a network on pictures, in their order.

    >>> for found in gluon_aff.predict("runs/mine", ["cat.jpg", "photos/"]):
    ...     print(found.name, found.top(3))

    Parameters
    ----------
    net_or_weights : HybridBlock or str or path
        A network, a catalogue id, a .params file, a run's directory, or the folder of an exported network.
    images : path, array, or a sequence of these
        Files, folders, zips, patterns (``"photos/*.jpg"``), or pixels uint8 (H, W, 3), RGB, of any size.
    input : NetworkInput, optional
        How a picture becomes the input of a network of one's own. Weights, and networks of ``create_model``, know.
    batch_size : int
        Pictures at once.
    workers : int
        Threads that read and decode.
    ctx : Context, optional
        Where weights are loaded (default: CPU).
    engine : str, optional
        "mxnet" (default), "onnxruntime" (default of an exported ONNX model), "openvino", or the fastest, "auto".

    Returns
    -------
    list of Prediction
        ``top(k)`` and ``scores`` of a classifier, ``probability`` of a segmentation network. A picture that cannot be
        read has a ``fault`` and no logits.

    Raises
    ------
    UsageError, GluonAFFError
        For weights that cannot be opened, places without pictures, a network of which nothing tells its input, and an
        engine that is not installed, cannot run the network or gives other logits than MXNet.
    """
    if isinstance(net_or_weights, mx.gluon.Block):
        trained = _of_net(net_or_weights)
    else:
        trained = open_network(os.fspath(net_or_weights), devices=[ctx or mx.cpu()], exported=True)
    if input is not None:
        trained.make_input = lambda: input
        trained.input_shape = (1, 3, input.size, input.size) if input.size else None
    trained.use_engine(engine)
    items: List[Item] = []
    for image in one_by_one(images):
        if isinstance(image, np.ndarray):
            items.append(checked(image))
        else:
            items += find_pictures(expanded([str(image)])).chosen
    return list(predict_stream(trained.predictor(), items, batch_size, workers))


def _of_net(net: mx.gluon.Block) -> TrainedNetwork:
    """A network that nothing more is known of than how it was made. Raises UsageError for one without classes."""
    if isinstance(net, FeatureMaps):
        raise UsageError("a network of `features_only` gives maps and has no classes to predict: call it")
    kind, call = type(net).__name__, getattr(net, "call", None)
    trained = TrainedNetwork(kind, Path(), "", kind, net)
    if call and call.get("classes") != 0:
        task = task_of_network(model_entry(call["name"]))
        trained.make_input = lambda: task.network_input({}, trained.outputs)
    return trained


def expanded(places: Iterable[str]) -> List[str]:
    """Places, with patterns such as ``photos/*.jpg`` replaced by what they match. Raises UsageError for no match."""
    found: List[str] = []
    for place in places:
        path = os.path.expanduser(place)
        if glob.has_magic(path) and not os.path.exists(path):
            matches = sorted(glob.glob(path, recursive=True))
            if not matches:
                raise UsageError(f"nothing matches {place}")
            found += matches
        else:
            found.append(place)
    return found


def pictures_of_lines(lines: Iterable[str]) -> Iterator[Item]:
    """Pictures of a list of places, one a line, found as they are needed; what is not there comes as an error.

    A line may go on behind a file, see `text_lists.names_in`.
    """
    for line in lines:
        fault: Optional[GluonAFFError] = None
        places = [place for place in names_in(line) if place == line or os.path.isfile(os.path.expanduser(place))]
        for place in places if line.strip() else ():
            try:
                found = find_pictures([place]).chosen
            except GluonAFFError as error:
                fault = fault or error
                continue
            yield from found
            break
        else:
            if fault:
                yield fault


class Tally:
    """Counts predictions on their way: how many, what could not be read, and how many are right where folders tell.

    ``score`` adds up those of a segmentation that have a mask.
    """

    def __init__(self, classes: ClassNames, score: Optional[AnyScore] = None) -> None:
        self._classes = classes
        self.score = score
        self.images = self.judged = self.right = 0
        self.bad: List[str] = []

    def counted(self, found: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same predictions, counted."""
        for each in found:
            if each.logits is None:
                self.bad.append(each.fault or each.name)
                print(f"skipped: {each.fault}", file=sys.stderr)
            else:
                self.images += 1
                truth = self._classes.find(each.folder) if each.folder else None
                if truth is not None and each.logits.ndim == 1:
                    self.judged += 1
                    self.right += int(each.logits.argmax()) == truth
            yield each

    def lines(self, seconds: float) -> List[str]:
        """For people."""
        said = f"{self.images} images in {seconds:.1f} s, {self.images / max(seconds, 1e-9):.1f} images/s"
        lines = [f"{said}; {len(self.bad)} could not be read" if self.bad else said]
        if self.judged:
            lines.append(
                f"top-1 accuracy {self.right / self.judged:.4f} ({self.right} of {self.judged} images, whose folders "
                "are named like their classes)"
            )
        if self.score and self.score.images:
            figures = self.score.result()
            metric, threshold = "mIoU", 0.5
            if isinstance(self.score, SegmentationScore):
                metric, threshold = "IoU", self.score.threshold
            told = "" if threshold == 0.5 else f", p > {threshold}"
            lines.append(
                f"{metric} {figures[self.score.merit]:.4f} ({figures['images']} images that have masks, counted at the "
                f"network's input size{told})"
            )
        return lines


def write_predicted(
    predictor: Predictor,
    items: Iterable[Item],
    total: Optional[int],
    out: Optional[str],
    form: str,
    batch_size: int,
    workers: int,
    top: int = 5,
    width: int = 0,
    threshold: float = 0.5,
) -> Tuple[Tally, List[Path]]:
    """Predict pictures and write what is found; the contact sheets of a segmentation are returned.

    ``threshold`` is the probability above which a pixel is foreground.
    """
    names = [predictor.classes[number] for number in range(predictor.outputs if predictor.segments else 0)]
    score: AnyScore = ClassScore(len(names), names) if len(names) > 1 else SegmentationScore(threshold=threshold)
    tally = Tally(predictor.classes, score)
    stream = predict_stream(predictor, items, batch_size, workers)
    found = tally.counted(progress(stream, total, "predicting", "picture"))
    if predictor.segments and out:
        return tally, write_masks(found, out, form, names, score, threshold)
    write_classes(found, out, form, min(top, predictor.outputs or top), width)
    return tally, []


def write_classes(found: Iterable[Prediction], out: Optional[str], form: str, top: int, width: int) -> None:
    """The ``top`` likeliest classes of each picture, to a file or, line by line, to standard output."""
    with nullcontext(sys.stdout) if out is None else atomic_write(out) as handle:
        if form == "csv":
            names = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "score")]
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["image", *names])
        for each in found:
            classes = [] if each.logits is None else each.top(top)
            if form == "jsonl":
                handle.write(json.dumps(_entry(each, classes)) + "\n")
            elif form == "csv":
                if classes:
                    cells = [cell for _, name, score in classes for cell in (name, f"{score:.6g}")]
                    writer.writerow([each.name, *cells, *[""] * (2 * top - len(cells))])
            elif classes:
                named = "  ".join(f"{score:6.4f} {name}" for _, name, score in classes)
                handle.write(f"{each.name:<{width}}  {named}\n")
            handle.flush()


def _entry(each: Prediction, classes: List[Any]) -> Dict[str, Any]:
    if each.logits is None:
        return {"image": each.name, "error": each.fault}
    listed = [{"number": number, "class": name, "score": round(score, 6)} for number, name, score in classes]
    return {"image": each.name, "classes": listed}


#: A picture's name, the shares of its pixels, its IoU where it has a mask, and why it has none of these.
_Row = Tuple[str, Sequence[float], Optional[float], Optional[str]]


def write_masks(
    found: Iterable[Prediction], out: str, form: str, classes: Sequence[str], score: AnyScore, threshold: float = 0.5
) -> List[Path]:
    """Write masks/, overlays/ and contact sheets of a segmentation network's predictions; return the sheets.

    Beside them stands a table of the share of foreground and, where there is a mask, the IoU; or of the share of each
    of several ``classes``. ``score`` gets the predictions that have masks.
    """
    names = classes if len(classes) > 1 else ("foreground",)
    rows: List[_Row] = []

    def items() -> Iterator[SegmentedItem]:
        for each in found:
            shares: Sequence[float] = ()
            iou: Optional[float] = None
            if each.image is not None:
                logits = each.resized
                marked = predicted_pixels(logits, threshold)
                counts = np.bincount(marked.ravel(), minlength=max(len(classes), 2))
                shares = (counts[-len(names) :] / marked.size).tolist()
                name, truth = each.name.rsplit("/", 1)[-1].rsplit(".", 1)[0], each.truth
                item = SegmentedItem(name, each.image, truth, marked, logits[0])
                if truth is not None and each.logits is not None:
                    mask = align(each.logits[0], truth)[1]  # as an evaluation counts, at the input's size
                    score.add(each.logits[None], mask[None, None], [each.name])
                    item = item._replace(truth=align(each.image, truth)[1])
                    if isinstance(score, SegmentationScore):
                        iou, told = score.images[-1].iou, "" if threshold == 0.5 else f", p > {threshold}"
                        item = item._replace(figure=score.images[-1].figure + told)
                yield item
            rows.append((each.name, shares, iou, each.fault))

    sheets = write_predictions(out, items(), classes)
    _write_shares(rows, out, form, names)
    return sheets


def _write_shares(rows: Sequence[_Row], out: str, form: str, names: Sequence[str]) -> None:
    """A row for each picture, its shares in the order of ``names``; a column for the IoU where any picture has one."""
    judged = any(iou is not None for _, _, iou, _ in rows)
    ending = {"table": "txt"}.get(form, form)
    with atomic_write(Path(out) / f"predictions.{ending}") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if form == "csv":
            writer.writerow(["image", *names, *["iou"] * judged])
        for image, shares, iou, fault in rows:
            figures = [] if iou is None else [f"{iou:.6f}"]
            if form == "jsonl":
                named, more = dict(zip(names, shares)), {} if iou is None else {"iou": iou}
                found: Dict[str, Any] = {"error": fault} if fault else {"shares": named} if len(names) > 1 else named
                handle.write(json.dumps({"image": image, **found, **more}) + "\n")
            elif not fault and form == "csv":
                writer.writerow([image, *(f"{share:.6f}" for share in shares), *(figures or [""] * judged)])
            elif not fault:
                cells = [f"{share:.6f}" + (f" {name}" if len(names) > 1 else "") for name, share in zip(names, shares)]
                handle.write("  ".join([image, *cells, *(f"IoU {figure}" for figure in figures)]) + "\n")
