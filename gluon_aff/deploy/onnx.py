"""The ONNX form: MXNet's own exporter with what it gets wrong put right, and ONNX Runtime to run it.

Put right: weights are no inputs (which keeps runtimes from folding them), the operator set is named whatever ONNX is
installed, maps may be resized to another's height and width.
"""

from __future__ import annotations

import io
import os
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Dict, List, Sequence, Union

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError
from ..runtime.threads import VARIABLE
from .symbol import INPUT, Arrays, example_shape

MODEL = "model.onnx"
OPSET = 13

_RESIZE = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
INSTALL = "pip install 'gluon_aff[onnx]'"
_LARGEST = (1 << 31) - 1  # bytes: a protocol buffer's limit


def to_onnx(
    symbol: mx.sym.Symbol,
    values: Arrays,
    shape: Sequence[Union[int, str]],
    input_type: str = "float32",
    names: Sequence[str] = ("logits",),
) -> bytes:
    """Return a network, symbol and arrays, as an ONNX model of operator set 13, its checker's full check passed.

    Names in the input's ``shape`` are lengths that are open: ``("N", 3, 224, 224)``; ``names`` are the outputs'. Raises
    UsageError when ONNX is not installed or too new for MXNet's exporter, and for an operator that cannot be exported,
    GluonAFFError when ONNX's checker refuses the model.
    """
    onnx = _load_onnx()
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

    arrays = {name.split(":", 1)[1]: mx.nd.array(value, dtype=value.dtype) for name, value in values.items()}
    is_open = any(isinstance(length, str) for length in shape)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(input_type))
    try:
        MXNetGraph.register("_contrib_BilinearResize2D", OPSET)(_convert_resize)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # it prints names
            warnings.simplefilter("ignore")
            made = MXNetGraph().create_onnx_graph_proto(
                symbol,
                arrays,
                [example_shape(shape)],
                [kind],
                opset_version=OPSET,
                dynamic=is_open,
                dynamic_input_shapes=[tuple(shape)] if is_open else None,
            )
    except (AttributeError, NotImplementedError) as error:
        raise UsageError(f"MXNet cannot export this network to ONNX: {error}") from error
    except onnx.checker.ValidationError as error:
        raise GluonAFFError(f"the exported graph is no valid ONNX: {str(error).splitlines()[0]}") from error
    known = {name: array.shape for name, array in arrays.items()}
    _, outputs, _ = symbol.infer_shape(**{INPUT: example_shape(shape)}, **known)
    _tidy(made, shape, dict(zip(names, outputs)))
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="gluon_aff")
    model.ir_version = min(model.ir_version, 8)  # of ONNX 1.13; older runtimes read no later one
    if model.ByteSize() > _LARGEST:
        raise UsageError("the network takes more than 2 GB, which an ONNX file cannot hold")
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise GluonAFFError(f"ONNX's checker refuses the exported model: {str(error).splitlines()[0]}") from error
    return model.SerializeToString()


def _tidy(made: Any, shape: Sequence[Union[int, str]], outputs: Dict[str, Sequence[int]]) -> None:
    """Leave ``data`` as the only input, drop what is not read, and name the outputs and their open lengths."""
    inputs = [value for value in made.input if value.name == INPUT]
    del made.input[:]
    made.input.extend(inputs)
    read = {name for node in made.node for name in node.input}
    unique = {tensor.name: tensor for tensor in made.initializer if tensor.name in read}
    del made.initializer[:]
    made.initializer.extend(unique.values())
    new = {value.name: name for value, name in zip(made.output, outputs)}
    for node in made.node:
        node.output[:] = [new.get(name, name) for name in node.output]
        node.input[:] = [new.get(name, name) for name in node.input]
    sides = [side for side in shape[1:] if side != 3]
    whole = [side for side in example_shape(shape)[1:] if side != 3]
    for value, (name, output) in zip(made.output, outputs.items()):
        value.name = name
        smaller = list(output[2:]) != whole  # a map of its own open height and width
        named = [f"{name}_{side}" if smaller and isinstance(side, str) else side for side in sides]
        for length, wanted, found in zip(value.type.tensor_type.shape.dim, (shape[0], None, *named), output):
            if isinstance(wanted, str):
                length.dim_param = wanted
            else:
                length.dim_value = found
    made.name = "gluon_aff"


def _convert_resize(node: Dict[str, Any], **kwargs: Any) -> List[Any]:
    """Translate ``BilinearResize2D(x, like, mode="like")``: corners aligned, height and width those of ``like``."""
    from mxnet.onnx.mx2onnx._op_translations import _op_translations_opset12 as theirs
    from onnx.helper import make_node

    name, (x, *like), attrs = theirs.get_inputs(node, kwargs)
    if attrs.get("mode") != "like":
        return theirs.convert_contrib_BilinearResize2D(node, **kwargs)
    for number in (0, 2, 4):
        theirs.create_tensor([number], f"{name}_{number}", kwargs["initializer"])
    return [
        make_node("Shape", [x], [f"{name}_old"]),
        make_node("Slice", [f"{name}_old", f"{name}_0", f"{name}_2"], [f"{name}_maps"]),
        make_node("Shape", like, [f"{name}_like"]),
        make_node("Slice", [f"{name}_like", f"{name}_2", f"{name}_4"], [f"{name}_sides"]),
        make_node("Concat", [f"{name}_maps", f"{name}_sides"], [f"{name}_new"], axis=0),
        make_node("Resize", [x, "", "", f"{name}_new"], [name], name=name, **_RESIZE),
    ]


def _load_onnx() -> Any:
    """Return ONNX, where it is one that MXNet's exporter can use."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
    except ImportError as error:
        raise UsageError(f"ONNX is not installed here ({error}): {INSTALL}") from error
    try:
        from onnx import mapping  # noqa: F401
    except ImportError:
        raise UsageError(
            f"ONNX {onnx.__version__} is too new for MXNet's exporter, which needs its module mapping: {INSTALL}"
        ) from None
    return onnx


class ONNXNetwork:
    """An ONNX model, a file or its bytes, in ONNX Runtime, called as a Gluon network is: NDArray in and out, or a list.

    Raises UsageError when ONNX Runtime is not installed, GluonAFFError when it cannot read the model.
    """

    def __init__(self, model: Union[Path, bytes]) -> None:
        runtime = load_runtime()
        where = "the model" if isinstance(model, bytes) else str(model)
        if not isinstance(model, bytes) and model.stat().st_size > _LARGEST:
            raise GluonAFFError(f"{where} has {model.stat().st_size:,} bytes, more than an ONNX file can have")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads()
        try:
            # from memory: a file could name other files as its arrays
            content = model if isinstance(model, bytes) else model.read_bytes()
            session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise GluonAFFError(f"ONNX Runtime cannot read {where}: {str(error).splitlines()[0]}") from error
        inputs = [value.name for value in session.get_inputs()]
        if inputs != [INPUT]:
            raise GluonAFFError(f"{where} has the inputs {', '.join(inputs)}: expected {INPUT}")
        self._session = session
        self.input_type: str = session.get_inputs()[0].type
        self.input_shape: List[Any] = session.get_inputs()[0].shape
        self.output_shapes: Dict[str, List[Any]] = {value.name: value.shape for value in session.get_outputs()}

    def __call__(self, x: Any) -> Union[mx.nd.NDArray, List[mx.nd.NDArray]]:
        """Return the outputs for a batch."""
        found = [mx.nd.array(each) for each in self.run(x.asnumpy())]
        return found if len(found) > 1 else found[0]

    def run(self, x: np.ndarray) -> List[np.ndarray]:
        """Return the outputs for a batch, as arrays."""
        try:
            return self._session.run(None, {INPUT: x})
        except Exception as error:
            raise GluonAFFError(f"ONNX Runtime cannot run the model: {str(error).splitlines()[0]}") from error


def threads() -> int:
    """Return how many threads an engine is to take: MXNet's; 0, its own choice, where that is not known."""
    return max(0, int(os.environ.get(VARIABLE) or 0))


def load_runtime() -> Any:
    """Return ONNX Runtime. Raise UsageError when it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"ONNX Runtime is not installed here ({error}): {INSTALL}") from error
    return onnxruntime
