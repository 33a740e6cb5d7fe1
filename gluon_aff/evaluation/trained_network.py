"""A trained network: with its weights, the images it is for, how it is given one, and its figure."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.picture_files import Picture
from ..data.pictures import AnyPicture, NetworkInput
from ..deploy import ExportedNetwork, Predictor, predictor_of_exported, predictor_of_net
from ..deploy.engines import EngineNetwork, engine_of_exported, engine_of_net
from ..errors import UsageError
from ..models.common import output_shape

_SIDE = 256  # of images that are tried: a multiple of what networks halve


@dataclass
class Claim:
    """A figure that was published or logged for these weights.

    ``epoch`` is of the run, counted from 0; ``split`` is None where the data set has but one to score on.
    """

    by: str
    metric: str
    value: float
    images: int
    dataset: str
    labels: Optional[str] = None
    run: Optional[str] = None
    epoch: Optional[int] = None
    split: Optional[str] = None

    def __str__(self) -> str:
        """In words: ``accuracy 0.9120 (2000 images of folder), logged``."""
        labels = f", {self.labels} labels" if self.labels else ""
        split = f" {self.split}" if self.split else ""
        return f"{self.metric} {self.value:.4f} ({self.images} images of {self.dataset}{split}{labels}), {self.by}"


@dataclass
class TrainedNetwork:
    """A network with its weights, and all that is known of it.

    >>> run = gluon_aff.load_run("runs/mine")
    >>> logits = run.net(run.prepare("photo.jpg"))
    >>> run.classes[int(logits.argmax(axis=1).asscalar())], run.figure

    Attributes
    ----------
    name : str
        What the user called it.
    file : Path
        Of its weights.
    task : str
        Name of the task that it was trained for; "" where that is not known.
    network : str
        What it is, in words.
    net : HybridBlock
        In float32, on the devices it was opened on.
    data : dict
        What the weights tell of their images, under the names of `DataOptions`, and ``classes``, their names.
    claim : Claim or None
        A figure that is known for it.
    options : Namespace or None
        Of its training, where it is a run of ours.
    make_input : callable or None
        What gives `input`.
    input_shape : tuple of int or None
        Of an input (N, C, H, W) that it takes, where it is known; else 256 pixels are tried.
    description : dict or None
        What its weights say of themselves, see `training.checkpoint`.
    exported : ExportedNetwork or None
        What ``net`` runs, where the network was exported; it predicts and is scored only.
    engine : EngineNetwork or None
        What runs it in the place of ``net``, see `use_engine`.
    """

    name: str
    file: Path
    task: str
    network: str
    net: mx.gluon.HybridBlock
    data: Dict[str, Any] = field(default_factory=dict)
    claim: Optional[Claim] = None
    options: Optional[Namespace] = None
    make_input: Optional[Callable[[], NetworkInput]] = None
    input_shape: Optional[Tuple[int, ...]] = None
    description: Optional[Dict[str, Any]] = None
    exported: Optional[ExportedNetwork] = None
    engine: Optional[EngineNetwork] = None

    def use_engine(self, name: Optional[str]) -> None:
        """Run it by "mxnet", "onnxruntime", "openvino" or the fastest here, "auto"; None for the usual one.

        Raises UsageError for an engine that is not installed or cannot run it; see `EngineNetwork` on batches.
        """
        if self.exported:
            self.engine = engine_of_exported(self.exported, name)
        else:
            self.engine = engine_of_net(self.net, name, name is not None and self.segments)

    @property
    def forward(self) -> Callable[[mx.nd.NDArray], mx.nd.NDArray]:
        """What takes a batch (N, 3, H, W) to logits: ``net``, or the engine that is used in its place.

        Raises UsageError for an exported network that takes pixels, or gives no logits.
        """
        if self.exported is None:
            return self.engine or self.net
        if self.exported.takes_pixels or self.exported.probabilities or self.exported.features:
            raise UsageError(
                f"{self.name} takes pixels, or gives no logits: to be scored, a network is exported without "
                "`with_preprocessing`, to logits"
            )
        run = replace(self.exported, net=self.engine or self.net).run
        return lambda x: mx.nd.array(run(x.asnumpy()))

    def __repr__(self) -> str:
        return f"TrainedNetwork({self.name!r}: {self.network}, {self.task}, {self.figure or 'no figure known'})"

    @property
    def title(self) -> str:
        """What it is called in headings: the id, or the file's or run's name."""
        path = Path(self.name).expanduser()
        return path.resolve().name if path.exists() else self.name

    @cached_property
    def input(self) -> NetworkInput:
        """How a picture becomes its input: size, fit, normalisation, class names. Raises UsageError where none can."""
        if self.make_input is None:
            raise UsageError(f"nothing tells how pictures become the input of this {self.name}: give input=")
        return self.make_input()

    @property
    def classes(self) -> Optional[Tuple[str, ...]]:
        """Names of the classes it tells apart, in the order of its outputs; None where they are not known."""
        return self.input.classes.names if self.input.classes else None

    @cached_property
    def output_shape(self) -> Optional[Tuple[int, ...]]:
        """Shape of its output, (N, classes) or (N, classes, H, W); None where that cannot be told."""
        shape = self.input_shape or (1, getattr(self.net, "_in_channels", 3), _SIDE, _SIDE)
        return output_shape(self.net, shape)

    @property
    def outputs(self) -> int:
        """Width of its head. Raises UsageError for a network of one's own whose head cannot be told."""
        if self.exported is not None:
            return self.exported.outputs
        found = self.output_shape
        if found is None or len(found) not in (2, 4):
            raise UsageError(
                f"{self.name}: the head of this {type(self.net).__name__} cannot be told, it gives "
                f"{found or 'no single output'} for {self.input_shape or 'images'}: expected a HybridBlock from images "
                "(N, 3, H, W) to class logits (N, classes) or segmentation logits (N, classes, H, W), whose "
                "hybrid_forward uses F's operators alone"
            )
        return found[1]

    @property
    def segments(self) -> bool:
        """Whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes)."""
        return self.exported.segments if self.exported else len(self.output_shape or ()) == 4

    @property
    def figure(self) -> Optional[str]:
        """Its figure in words; None where none is known."""
        return None if self.claim is None else str(self.claim)

    def prepare(self, pictures: Union[AnyPicture, Sequence[AnyPicture]]) -> mx.nd.NDArray:
        """The network's input (N, 3, H, W), on its first device, of files, their contents or pixels.

        Raises as `NetworkInput.prepare` does.
        """
        device = next(iter(self.net.collect_params().values())).list_ctx()[0]
        return mx.nd.array(self.input.prepare(pictures), ctx=device)

    def mask_of(self, picture: Picture, size: Optional[Tuple[int, ...]] = None) -> Optional[np.ndarray]:
        """The mask beside a picture, at this height and width if any, read as the run's training read its masks."""
        threshold, ignore = (getattr(self.options, name, None) for name in ("mask_threshold", "mask_ignore"))
        return picture.mask(size, self.outputs, threshold, ignore)

    def predictor(self) -> Predictor:
        """Return it ready for a stream of pictures, see `deploy.predicting.predict_stream`."""
        if self.exported is not None:
            made = predictor_of_exported(replace(self.exported, net=self.engine or self.net))
        else:
            outputs = self.outputs if self.output_shape else 0  # of a network of one's own it may be unknown
            made = predictor_of_net(self.net, self.input, self.segments, outputs, self.title)
            made = replace(made, start=self.engine.start) if self.engine else made
        return replace(made, mask_of=self.mask_of) if made.segments and made.outputs else made
