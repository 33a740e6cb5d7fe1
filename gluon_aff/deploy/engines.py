"""Engines that run a network on the CPU in MXNet's place, from its ONNX form: checked and timed on the first batch."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError, last_line
from ..utils.logits import check_finite
from ..utils.timing import take_turns
from .exported import ExportedNetwork, filled
from .exporting import ROUNDING, TOLERANCES
from .folding import fold_norms
from .onnx import INSTALL, MODEL, ONNXNetwork, load_runtime, threads, to_onnx
from .predicting import Start, at_once, starter
from .symbol import graph_of

MXNET, RUNTIME, OPENVINO, AUTO = "mxnet", "onnxruntime", "openvino", "auto"
ENGINES = (MXNET, RUNTIME, OPENVINO, AUTO)

_TURNS, _SECONDS = 5, 1.5  # at most, of timing: no further turn begins after so long

Run = Callable[[np.ndarray], np.ndarray]
Shape = Tuple[int, ...]


class OpenVINOModel:
    """An ONNX model in OpenVINO: array in, array out.

    It is compiled for the shape that comes first, of which smaller batches are filled up; larger ones have it compiled
    again. Other sizes share a form that is open to all.

    Raises UsageError when OpenVINO is not installed, GluonAFFError when it cannot read or run the model.
    """

    def __init__(self, model: bytes) -> None:
        self._core = load_openvino().Core()
        self._model = self._tried("read", lambda: self._core.read_model(model))
        self._shape: Shape = ()
        self._fixed = self._open = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs for a batch."""
        alike = x.shape[1:] == self._shape[1:]
        if not self._shape or (alike and len(x) > self._shape[0]):
            self._fixed, self._shape, alike = self._compiled(x.shape), x.shape, True
        if alike:
            return self._run(self._fixed, filled(x, self._shape[0]))[: len(x)]
        self._open = self._open or self._compiled()
        return self._run(self._open, x)

    def _compiled(self, shape: Optional[Shape] = None) -> Any:
        # float32 as it is, where OpenVINO would else round to bfloat16 on some CPUs
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        settings["INFERENCE_NUM_THREADS"] = str(threads())

        def compiled() -> Any:
            model = self._model.clone()
            if shape:
                model.reshape(list(shape))
            return self._core.compile_model(model, "CPU", settings)

        return self._tried("compile", compiled)

    def _run(self, compiled: Any, x: np.ndarray) -> np.ndarray:
        return self._tried("run", lambda: np.array(compiled(x)[0]))  # a copy: the next batch overwrites the output

    def _tried(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise GluonAFFError(f"OpenVINO cannot {what} the model: {last_line(error)}") from error


def load_openvino() -> Any:
    """Return OpenVINO, without its telemetry, which sends each import. Raise UsageError where it is not."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise UsageError(f"OpenVINO is not installed here ({error}): {INSTALL}") from error
    return openvino


def _in_runtime(model: bytes) -> Run:
    session = ONNXNetwork(model)
    return lambda x: session.run(x)[0]


#: What loads an engine's package, raising UsageError where it is not installed, and what makes a model run.
_LOAD: Dict[str, Callable[[], Any]] = {RUNTIME: load_runtime, OPENVINO: load_openvino}
_COMPILE: Dict[str, Callable[[bytes], Run]] = {RUNTIME: _in_runtime, OPENVINO: OpenVINOModel}


class EngineNetwork:
    """A network run by an engine, called as a Gluon network is: NDArray in, NDArray out.

    The engine is made at the first batch, and again for each size of pictures unless the model takes ``any_size``. Its
    logits must be the network's own to 1e-4 of their range there.

    Parameters
    ----------
    own : callable
        Sets the network by its own engine to work on an array; what it returns waits for the logits.
    own_name : str
        What that engine is called.
    wanted : str
        The engine's name; of "auto" the fastest of those that are installed is taken, the own one among them, and a
        line on standard error says so.
    model : callable
        From an input's shape to the ONNX model, bytes.
    any_size : bool
        Whether that model takes pictures of any size.
    least : int
        Pictures that it takes at least.

    Attributes
    ----------
    about : dict
        The engine's "name", of "auto" the "images_per_second" of each as well; filled in at the first batch.

    Raises
    ------
    UsageError
        For an engine that is not installed; when called, for a network that has no ONNX form.
    GluonAFFError
        When called, for logits that are not the network's.
    """

    def __init__(
        self, own: Start, own_name: str, wanted: str, model: Callable[[Shape], bytes], any_size: bool, least: int = 1
    ) -> None:
        self._own, self._own_name, self._wanted, self._model = own, own_name, wanted, model
        self._any_size, self._least = any_size, least
        self._made: Dict[Shape, Start] = {}
        self._said: List[str] = []
        self.about: Dict[str, Any] = {}
        if wanted == AUTO:
            self._others = [name for name in _LOAD if name != own_name and self._is_installed(name)]
        else:
            _LOAD[wanted]()
            self._others = [wanted]

    def __call__(self, x: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return the logits of a batch."""
        return mx.nd.array(self.start(x.asnumpy())())

    def start(self, x: np.ndarray) -> Callable[[], np.ndarray]:
        """Set it to work on a batch; what it returns waits for the logits."""
        size = () if self._any_size else x.shape[1:]
        if size not in self._made:
            self._made[size] = self._begin(x)
        return self._made[size](x)

    def _is_installed(self, name: str) -> bool:
        try:
            _LOAD[name]()
        except UsageError:
            self._said.append(f"{name} is not installed")
            return False
        return True

    def _begin(self, x: np.ndarray) -> Start:
        """Return the engine for batches like ``x``, which are the first of their size."""
        began = time.perf_counter()
        expected = self._own(x)()
        check_finite(expected)
        if self._wanted == AUTO:  # on as many pictures as each can take twice in that time
            share = _SECONDS / (time.perf_counter() - began) / (2 * (1 + len(self._others)))
            x = x[: max(self._least, int(share * len(x)))]
            expected = self._own(x)()
        found: Dict[str, Run] = {}
        model: Optional[bytes] = None
        for name in self._others:
            try:
                model = model or self._model(x.shape)
                run = _COMPILE[name](model)
                _check(name, run(x), expected, self._own_name)
                found[name] = run
            except GluonAFFError as error:
                if self._wanted != AUTO:
                    raise
                self._said.append(f"{name} is left out: {error}")
        if self._wanted == AUTO:
            self._choose({self._own_name: lambda x: self._own(x)(), **found}, x)
        self.about.setdefault("name", self._wanted)
        name = self.about["name"]
        return at_once(found[name]) if name in found else self._own

    def _choose(self, runs: Dict[str, Run], x: np.ndarray) -> None:
        """Take the fastest of engines that have all run once, and say so."""
        taken = take_turns({name: partial(run, x) for name, run in runs.items()}, _SECONDS, most=_TURNS)
        rates = {name: len(x) / min(seconds) for name, seconds in taken.items()}
        name = max(rates, key=rates.__getitem__)
        self.about.update(name=name, images_per_second=rates)
        others = [f"{other} {rate:.1f}" for other, rate in rates.items() if other != name]
        told = "; ".join([", ".join(others)] * bool(others) + self._said)
        say(name, f"{rates[name]:.1f} images/s on the first batch" + (f" ({told})" if told else ""))
        self._wanted, self._others = name, [other for other in self._others if other == name]


def say(name: str, why: str) -> None:
    """Say on standard error which engine "auto" takes."""
    print(f"engine {name}: {why}", file=sys.stderr)


def _check(name: str, found: np.ndarray, expected: np.ndarray, by: str) -> None:
    """Raise GluonAFFError for logits of an engine that are not the network's own."""
    if found.shape != expected.shape:
        raise GluonAFFError(f"{name} gives logits {found.shape}, {by} {expected.shape}")
    span = float(np.ptp(expected))
    difference, most = float(np.abs(found - expected).max()), TOLERANCES["onnx"]
    if not difference <= most * span + ROUNDING:
        raise GluonAFFError(
            f"the logits of {name} differ by {difference:.3g} from those of {by}, whose range is {span:.3g}: more than "
            f"{most:g} of it, so {name} cannot take the place of {by}"
        )


def engine_of_net(net: mx.gluon.Block, name: Optional[str], any_size: bool) -> Optional[EngineNetwork]:
    """Return what runs a Gluon network by the engine of that name; None where that is MXNet.

    ``any_size``: whether the network takes pictures of any size. Raises UsageError for an engine that is unknown or not
    installed, and for a network on a GPU.
    """
    if _known(name) in (None, MXNET):
        return None
    device = next(iter(net.collect_params().values())).list_ctx()[0]
    if not device.device_type.startswith("cpu"):
        if name != AUTO:
            raise UsageError(f"the engine {name} runs on the CPU, the network lies on {device}: take it to the CPU")
        say(MXNET, f"the network lies on {device}, the others run on the CPU")
        return None

    def model(shape: Shape) -> bytes:
        graph = graph_of(net)
        fold_norms(graph)
        sides: Sequence[Any] = ("H", "W") if any_size else shape[2:]
        return to_onnx(graph.symbol(), graph.values(), ("N", shape[1], *sides))

    return EngineNetwork(starter(net), MXNET, str(name), model, any_size)


def engine_of_exported(exported: ExportedNetwork, name: Optional[str]) -> Optional[EngineNetwork]:
    """Return what runs an exported network by the engine of that name; None where it is the form's own.

    That is ONNX Runtime for an ONNX model, and MXNet, which alone can run them, for the other forms. Raises UsageError
    for an engine that is unknown or not installed, or cannot run the form.
    """
    if exported.kind != "onnx":
        if _known(name) == AUTO:
            say(MXNET, f"the others cannot run the form {exported.kind}")
        elif name not in (None, MXNET):
            raise UsageError(
                f"{exported.directory} is of the form {exported.kind}, which MXNet alone can run: leave `engine` out, "
                "or export the network to onnx"
            )
        return None
    if _known(name) == MXNET:
        raise UsageError(f"{exported.directory} is an ONNX model, which MXNet cannot run: take onnxruntime or openvino")
    if name in (None, RUNTIME):
        return None
    network: Any = exported.net
    own, file = at_once(lambda x: network.run(x)[0]), exported.directory / MODEL
    return EngineNetwork(own, RUNTIME, str(name), lambda shape: file.read_bytes(), True, exported.batch or 1)


def _known(name: Optional[str]) -> Optional[str]:
    if name not in (None, *ENGINES):
        raise UsageError(f"no engine {name!r}: choose one of {', '.join(ENGINES)}")
    return name
