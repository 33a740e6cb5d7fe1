"""Predictions on pictures as a stream: files are read and decoded ahead while the network works."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Callable, Iterable, Iterator, List, Optional, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.decoding import decode_image
from ..data.picture_files import Picture
from ..data.pictures import NetworkInput
from ..data.registry import ClassNames
from ..errors import GluonAFFError, UsageError
from ..runtime.threads import prefetch
from ..utils.logits import as_logits, check_finite, resized_logits, softmax
from .exported import ExportedNetwork, as_list

#: What can be predicted: a file, pixels uint8 (H, W, 3), or what could not be found.
Item = Union[Picture, np.ndarray, GluonAFFError]

Wait = Callable[[], np.ndarray]
Start = Callable[[np.ndarray], Wait]


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
    mask_of : callable or None
        From a picture file to its mask, None where there is none; of segmentation.
    """

    name: str
    input: NetworkInput
    segments: bool
    outputs: int
    prepare: Callable[[np.ndarray], np.ndarray]
    start: Start
    batch: Optional[int] = None
    mask_of: Optional[Callable[[Picture], Optional[np.ndarray]]] = None

    @property
    def classes(self) -> ClassNames:
        """Return the names of its classes; numbers where they are not known."""
        return self.input.classes or ClassNames(())


def predictor_of_net(
    net: mx.gluon.Block, network_input: NetworkInput, segments: bool, outputs: int, name: str
) -> Predictor:
    """Return the predictor of a Gluon network, on its first device."""
    return Predictor(name, network_input, segments, outputs, network_input.transform, starter(net))


def starter(net: mx.gluon.Block) -> Start:
    """Return what sets a Gluon network to work, on its first device: MXNet goes on while the next batch is decoded."""
    device = next(iter(net.collect_params().values())).list_ctx()[0]
    return lambda x: net(mx.nd.array(x, ctx=device)).asnumpy


def at_once(run: Callable[[np.ndarray], np.ndarray]) -> Start:
    """Return what gives logits without waiting, as a start that has done all the work."""

    def start(x: np.ndarray) -> Wait:
        logits = run(x)
        return lambda: logits

    return start


def predictor_of_exported(exported: ExportedNetwork) -> Predictor:
    """Return that of an exported network; of probabilities it takes the logarithms for logits.

    Raises GluonAFFError where nothing tells how pictures become its input, UsageError where it gives feature maps.
    """
    if exported.features:
        raise UsageError(
            f"{exported.directory} gives feature maps ({', '.join(exported.features)}) and has no classes to predict: "
            "call its net, or export the network as logits or probabilities"
        )
    if exported.input is None:
        raise GluonAFFError(
            f"{exported.directory} does not say how pictures become its input: export it with input= (a NetworkInput)"
        )

    def start(x: np.ndarray) -> Wait:
        if exported.kind == "onnx" or exported.batch is not None:
            (found,) = as_list(exported.run(x))
            return lambda: logits(found)
        made = exported.net(mx.nd.array(x, dtype=x.dtype))
        return lambda: logits(made.asnumpy())

    def logits(outputs: np.ndarray) -> np.ndarray:
        return as_logits(outputs) if exported.probabilities else outputs

    about = exported.name, exported.input, exported.segments, exported.outputs
    return Predictor(*about, exported.prepared, start, exported.batch)


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
    truth : array or None
        The mask of a picture in images/ that has one in masks/, uint8, at the mask's own size; of segmentations.
    """

    name: str
    folder: Optional[str]
    logits: Optional[np.ndarray]
    classes: ClassNames
    image: Optional[np.ndarray] = None
    fault: Optional[str] = None
    truth: Optional[np.ndarray] = None

    @property
    def scores(self) -> np.ndarray:
        """Return the softmax over the classes, float32 (classes,)."""
        return softmax(self._logits, axis=0)

    def top(self, k: int = 5) -> List[Tuple[int, str, float]]:
        """Return number, name and score of the k likeliest classes; of equal scores the lower number comes first."""
        order = np.argsort(-self._logits, kind="stable")[:k]
        scores = self.scores
        return [(int(number), self.classes[int(number)], float(scores[number])) for number in order]

    @property
    def probability(self) -> np.ndarray:
        """Return the foreground's, float32 (H, W) at the picture's own size; of several classes, all but class 0's."""
        from scipy.special import expit

        logits = self.resized
        return expit(logits[0]) if len(logits) == 1 else 1 - softmax(logits, axis=0)[0]

    @property
    def resized(self) -> np.ndarray:
        """Return the logits of a segmentation at the picture's own size, float32 (classes, H, W)."""
        assert self.image is not None
        return resized_logits(self._logits, *self.image.shape[:2])

    @property
    def _logits(self) -> np.ndarray:
        if self.logits is None:
            raise GluonAFFError(f"nothing was predicted: {self.fault}")
        return self.logits


#: A prediction that has no logits yet, and the network's input for it; None for a picture that cannot be read.
Ready = Tuple[Prediction, Optional[np.ndarray]]


def predict_stream(
    predictor: Predictor, items: Iterable[Item], batch_size: int = 32, workers: int = 2
) -> Iterator[Prediction]:
    """Yield predictions in the order of the pictures; what cannot be read comes as one with its ``fault``.

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

    unread: List[Item] = []

    def truth_of(item: Item) -> Optional[np.ndarray]:
        try:
            return predictor.mask_of(item) if predictor.mask_of and isinstance(item, Picture) else None
        except GluonAFFError as error:
            if not unread:
                print(f"note: {error}; the truth of such pictures is not shown", file=sys.stderr)
            unread.append(item)
            return None

    def make(item: Item) -> Ready:
        if isinstance(item, GluonAFFError):
            return Prediction(str(item).split(": ")[0], None, None, predictor.classes, fault=str(item)), None
        where, folder = (item.where, item.folder) if isinstance(item, Picture) else ("array", None)
        try:
            if isinstance(item, Picture):
                content = item.content()
                pixels = predictor.input.read(content, where)
                image = decode_image(content, where) if predictor.segments else None
            else:
                pixels, image = predictor.input.fitted(item), item if predictor.segments else None
            found = Prediction(where, folder, None, predictor.classes, image, truth=truth_of(item))
            return found, predictor.prepare(pixels[None])[0]
        except GluonAFFError as error:
            fault = getattr(error, "fault", str(error))
            return Prediction(where, None, None, predictor.classes, fault=fault), None

    def finish(wait: Optional[Wait], group: List[Ready]) -> Iterator[Prediction]:
        if wait is None:
            yield from (found for found, _ in group)
            return
        logits = wait()
        check_finite(logits)
        yield from (replace(found, logits=values) for (found, _), values in zip(group, logits))

    def batch_of(numbered: Tuple[int, Ready]) -> Tuple[int, Optional[Tuple[int, ...]]]:
        number, (_, x) = numbered
        return number // size, None if x is None else x.shape

    size = predictor.batch or batch_size
    readies = prefetch(make, items, "picture", workers, 2 * size + workers)
    before: Optional[Tuple[Optional[Wait], List[Ready]]] = None
    for _, alike in groupby(enumerate(readies), batch_of):
        group = [ready for _, ready in alike]
        inputs = [x for _, x in group if x is not None]
        begun = predictor.start(np.stack(inputs)) if inputs else None
        if before is not None:  # the network works on this group while the one before is finished
            yield from finish(*before)
        before = begun, group
    if before is not None:
        yield from finish(*before)
