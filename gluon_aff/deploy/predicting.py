"""Predictions on pictures as a stream: files are read and decoded ahead while the network works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.class_names import ClassNames
from ..data.decoding import decode_image
from ..data.pictures import NetworkInput, Picture
from ..errors import GluonAFFError
from ..utils.logits import check_finite, resized_logits, softmax
from ..utils.prefetch import prefetch
from .exported import ExportedNetwork

#: What can be predicted: a file, pixels uint8 (H, W, 3), or what could not be found.
Item = Union[Picture, np.ndarray, GluonAFFError]

Wait = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """A network ready for pictures.

    Attributes
    ----------
    name : str
        What it is called.
    input : NetworkInput
        How a picture becomes its input, and its classes' names.
    segments : bool
        Whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes).
    outputs : int
        Number of classes it tells apart.
    prepare : callable
        From pixels uint8 (N, H, W, 3) at its size to its input.
    start : callable
        Sets it to work on an input; what it returns waits for the logits.
    batch : int or None
        The number of pictures that it always takes; None for any.
    """

    name: str
    input: NetworkInput
    segments: bool
    outputs: int
    prepare: Callable[[np.ndarray], np.ndarray]
    start: Callable[[np.ndarray], Wait]
    batch: Optional[int] = None

    @property
    def classes(self) -> ClassNames:
        """Names of its classes; numbers where they are not known."""
        return self.input.classes or ClassNames(())


def predictor_of_net(
    net: mx.gluon.Block, network_input: NetworkInput, segments: bool, outputs: int, name: str
) -> Predictor:
    """Of a Gluon network, on its first device."""
    device = next(iter(net.collect_params().values())).list_ctx()[0]

    def start(x: np.ndarray) -> Wait:
        return net(mx.nd.array(x, ctx=device)).asnumpy  # MXNet works on it while the next batch is decoded

    return Predictor(name, network_input, segments, outputs, network_input.transform, start)


def predictor_of_exported(exported: ExportedNetwork) -> Predictor:
    """Of an exported network. Raises GluonAFFError where its manifest does not say how pictures become its input."""
    if exported.input is None:
        raise GluonAFFError(
            f"{exported.directory} does not say how pictures become its input: export it with input= (a NetworkInput)"
        )

    def start(x: np.ndarray) -> Wait:
        if exported.kind == "onnx" or exported.batch is not None:
            found = exported.run(x)
            return lambda: found
        return exported.net(mx.nd.array(x, dtype=x.dtype)).asnumpy

    return Predictor(
        exported.name,
        exported.input,
        exported.segments,
        exported.outputs,
        exported.prepared,
        start,
        exported.batch,
    )


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network gives for one picture.

    Attributes
    ----------
    name : str
        Where the picture is; of pixels "array".
    folder : str or None
        The folder that holds it.
    logits : array or None
        float32 (classes,), or (classes, H, W) at the input's size; None for a picture that could not be read.
    classes : ClassNames
        What they are called.
    image : array or None
        The picture at its own size, uint8 (H, W, 3); of segmentations.
    fault : str or None
        Why it could not be read.
    """

    name: str
    folder: Optional[str]
    logits: Optional[np.ndarray]
    classes: ClassNames
    image: Optional[np.ndarray] = None
    fault: Optional[str] = None

    @property
    def scores(self) -> np.ndarray:
        """Softmax over the classes, float32 (classes,)."""
        return softmax(self._logits, axis=0)

    def top(self, k: int = 5) -> List[Tuple[int, str, float]]:
        """Number, name and score of the k likeliest classes; of equal scores the lower number comes first."""
        order = np.argsort(-self._logits, kind="stable")[:k]
        scores = self.scores
        return [(int(number), self.classes[int(number)], float(scores[number])) for number in order]

    @property
    def probability(self) -> np.ndarray:
        """Of the foreground, float32 (H, W) at the picture's own size; with several classes, of all but class 0."""
        from scipy.special import expit

        logits = self.resized
        return expit(logits[0]) if len(logits) == 1 else 1 - softmax(logits, axis=0)[0]

    @property
    def resized(self) -> np.ndarray:
        """The logits of a segmentation at the picture's own size, float32 (classes, H, W)."""
        assert self.image is not None
        return resized_logits(self._logits, *self.image.shape[:2])

    @property
    def _logits(self) -> np.ndarray:
        if self.logits is None:
            raise GluonAFFError(f"nothing was predicted: {self.fault}")
        return self.logits


@dataclass(frozen=True, eq=False)
class _Ready:
    name: str
    folder: Optional[str]
    x: Optional[np.ndarray] = None
    image: Optional[np.ndarray] = None
    fault: Optional[str] = None


def predict_stream(
    predictor: Predictor, items: Iterable[Item], batch_size: int = 32, workers: int = 2
) -> Iterator[Prediction]:
    """Predictions in the order of the pictures; what cannot be read comes as one with its ``fault``.

    Parameters
    ----------
    batch_size : int
        Pictures that the network is given at once; fewer where the next has another size.
    workers : int
        Threads that read and decode; no figure depends on it.

    Raises
    ------
    GluonAFFError
        For logits that are not finite.
    """

    def make(item: Item) -> _Ready:
        if isinstance(item, GluonAFFError):
            return _Ready(str(item).split(": ")[0], None, fault=str(item))
        try:
            return _prepared(predictor, item)
        except GluonAFFError as error:
            where = item.where if isinstance(item, Picture) else "array"
            return _Ready(where, None, fault=getattr(error, "fault", str(error)))

    size = predictor.batch or batch_size
    before: Optional[Tuple[Optional[Wait], List[_Ready]]] = None
    for group in _groups(prefetch(make, items, workers, 2 * size + workers, "picture"), size):
        begun = (
            None
            if group[0].x is None
            else predictor.start(np.stack([ready.x for ready in group if ready.x is not None]))
        )
        if before is not None:  # the network works on this group while the one before is finished
            yield from _finished(predictor, *before)
        before = begun, group
    if before is not None:
        yield from _finished(predictor, *before)


def _prepared(predictor: Predictor, item: Union[Picture, np.ndarray]) -> _Ready:
    if isinstance(item, Picture):
        content, where, folder = item.content(), item.where, item.folder
        pixels = predictor.input.read(content, where)
        image = decode_image(content, where) if predictor.segments else None
    else:
        where, folder, image = "array", None, item if predictor.segments else None
        pixels = predictor.input.fitted(item)
    return _Ready(where, folder, predictor.prepare(pixels[None])[0], image)


def _groups(readies: Iterable[_Ready], size: int) -> Iterator[List[_Ready]]:
    """Neighbours of one shape, at most ``size`` of them; a picture that could not be read is a group of its own."""
    group: List[_Ready] = []
    for ready in readies:
        shape: Any = None if ready.x is None else ready.x.shape
        if group and (len(group) == size or shape is None or group[0].x is None or shape != group[0].x.shape):
            yield group
            group = []
        group.append(ready)
    if group:
        yield group


def _finished(predictor: Predictor, wait: Optional[Wait], group: List[_Ready]) -> Iterator[Prediction]:
    if wait is None:
        yield from (Prediction(each.name, each.folder, None, predictor.classes, fault=each.fault) for each in group)
        return
    logits = wait()
    check_finite(logits)
    for ready, values in zip(group, logits):
        yield Prediction(ready.name, ready.folder, values, predictor.classes, ready.image)
