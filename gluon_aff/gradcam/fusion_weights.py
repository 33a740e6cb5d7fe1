"""What the fusions of a network choose: weights M and their parts (paper, Eqs. 1 to 4), as arrays, table and sheet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np
from mxnet.gluon import Block

from ..errors import UsageError
from ..nn import MSCAM, Fusion
from ..nn.fusions import Weight
from ..utils.figures import DPI, new_figure, plain, write_figure
from ..utils.files import PathLike
from ..utils.tables import text_table
from .inner_layers import as_input, checked, named_blocks, recorded_outputs

_PARTS = ("weight", "local", "context")
_HEADINGS = {"weight": "M", "local": "local part", "context": "global part"}
_TILE, _TEXT, _NAME, _BARS = 1.35, 0.3, 1.5, 1.3  # inches: a map; the line below it; the path; the colour bars


@dataclass(frozen=True, eq=False)
class FusionWeights:
    """The weight of one fusion on a batch, M = sigmoid(local + context), float32.

    Attributes
    ----------
    path : str
        Of the fusion in the network.
    kind : str
        The fusion's class, such as "AFF".
    stage : int
        1, or 2 for the second weight of iAFF or ACM.
    label : str
        What tells it from the other one: "stage 1", "topdown"; "" where it is alone.
    weight : array
        M, (N, C, H, W); (N, C, 1, 1) where the fusion has global context alone.
    local, context : array or None
        The parts before the sigmoid, L (N, C, H, W) and g (N, C, 1, 1); None for one that the fusion does not have.
        (Global + Global and Local + Local have two of one kind.)
    inputs : tuple of str
        What x and residual are: the ``input_names`` of the block around the fusion (an FPN's high-level and low-level
        map, the Inception host's 5x5 and 3x3 branch), else learned branch and shortcut.
    on : str
        Which of them the weight multiplies, "x" or "residual".
    selects : bool
        Whether the other input has the weight 1 - M, so that M tells which of them the network chooses.
    """

    path: str
    kind: str
    stage: int
    label: str
    weight: np.ndarray
    local: Optional[np.ndarray]
    context: Optional[np.ndarray]
    inputs: Tuple[str, str]
    on: str
    selects: bool

    @property
    def weighed(self) -> str:
        """The name of the input that has the weight M."""
        return self.inputs[0 if self.on == "x" else 1]

    @property
    def other(self) -> str:
        """The name of the other input."""
        return self.inputs[1 if self.on == "x" else 0]


def fusion_weights(net: Block, x: Union[mx.nd.NDArray, np.ndarray]) -> List[FusionWeights]:
    """Return the weights of every fusion (and MS-CAM) inside a network, shallow to deep.

    Parameters
    ----------
    net : Block
        Hybridized or not; it stays as it is.
    x : NDArray or array
        A normalised batch (N, C, H, W).

    Raises
    ------
    UsageError
        When no fusion in the network has weights, as plain addition has none.
    """
    inside = {"": net, **dict(named_blocks(net))}
    blocks = {path: block for path, block in inside.items() if path and isinstance(block, (Fusion, MSCAM))}
    if isinstance(net, (Fusion, MSCAM)):
        raise UsageError("this is a single fusion: give a network that has fusions inside")
    parts = {
        f"{path}.{name}": _before_sigmoid(block._children[name])
        for path, block in blocks.items()
        for weight in _weights(block)
        for name in weight.branches
    }
    if not parts:
        kinds = ", ".join(sorted({type(block).__name__ for block in blocks.values()})) or "none"
        raise UsageError(f"no fusion of this {type(net).__name__} has weights (fusions: {kinds}): nothing to show")
    x = as_input(net, x)
    with recorded_outputs(net, parts) as recorded, mx.autograd.pause(train_mode=False):
        net(x)
    outputs = {name: checked(output, name) for name, output in recorded.items()}
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in outputs))  # in the order they ran
    return [
        stage for path in paths for stage in _weights_of(path, blocks[path], inside[path.rpartition(".")[0]], outputs)
    ]


def _weights(block: Block) -> List[Weight]:
    return block.weights() if isinstance(block, Fusion) else [Weight("", {"local_att": False, "global_att": True}, "x")]


def _before_sigmoid(branch: Block) -> Block:
    """Return the layer whose output goes into the sigmoid: the branch, or what stands before its own sigmoid."""
    *_, before, last = branch._children.values()
    return before if getattr(last, "_act_type", None) == "sigmoid" else branch


def _weights_of(path: str, block: Block, parent: Block, outputs: Dict[str, np.ndarray]) -> Iterator[FusionWeights]:
    """Yield the weights of a fusion (iAFF and ACM have two)."""
    for stage, (label, pools, on) in enumerate(_weights(block), 1):
        found = {name: outputs[f"{path}.{name}"] for name in pools}
        found = block.attention_logits(found) if isinstance(block, Fusion) else found
        yield FusionWeights(
            path=path,
            kind=type(block).__name__,
            stage=stage,
            label=label,
            weight=_sigmoid(reduce(np.add, found.values())),
            local=_sum(part for name, part in found.items() if not pools[name]),
            context=_sum(part for name, part in found.items() if pools[name]),
            inputs=getattr(parent, "input_names", ("learned branch", "shortcut")),
            on=on,
            selects=getattr(block, "selects", False),
        )


def _sum(parts: Iterable[np.ndarray]) -> Optional[np.ndarray]:
    found = list(parts)
    return reduce(np.add, found) if found else None


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def weight_lines(weights: Sequence[FusionWeights]) -> List[str]:
    """Return a table for a terminal, shallow to deep: M and its parts, and which input each fusion leans to.

    The columns M, local and global are means, ``std`` is M's standard deviation over channels and positions, and
    ``> 0.5`` the share of weights above one half.
    """
    rows = []
    for each in weights:
        mean, share = float(each.weight.mean()), float((each.weight > 0.5).mean())
        leaning = (each.weighed if mean > 0.5 else each.other) if each.selects else f"M weighs the {each.weighed}"
        rows.append(
            (
                each.path,
                each.kind + (f", {each.label}" if each.label else ""),
                "x".join(map(str, each.weight.shape[1:])),
                leaning,
                f"{mean:.3f}",
                f"{each.weight.std():.3f}",
                f"{100 * share:.0f} %",
                *("-" if part is None else f"{part.mean():+.2f}" for part in (each.local, each.context)),
            )
        )
    return text_table(("fusion", "kind", "map", "leans to", "M", "std", "> 0.5", "local", "global"), rows, left=4)


def weight_arrays(weights: Sequence[FusionWeights]) -> Dict[str, np.ndarray]:
    """Return the means over channels of the first image's weight, local and context, each (H, W).

    Their names are such as ``features.2.0.attention.weight``; of iAFF's second stage ``weight2``, ``local2``,
    ``context2``.
    """
    found = {}
    for each in weights:
        for part in _PARTS:
            values = getattr(each, part)
            if values is not None:
                found[f"{each.path}.{part}{'' if each.stage == 1 else each.stage}"] = values[0].mean(axis=0)
    return found


def draw_weight_sheet(
    weights: Sequence[FusionWeights], pixels: np.ndarray, title: str, path: PathLike, dpi: int = DPI
) -> None:
    """Draw the input once, and a row for each fusion, shallow to deep: M, its local and global part, for each stage.

    Maps are means over channels of the first image's. One scale for all M, symmetric about 0.5, and one for all parts,
    symmetric about 0, below which they argue for the other input.
    """
    found, stages = weight_arrays(weights), _stages(weights)
    paths = list(dict.fromkeys(each.path for each in weights))
    labels = [each.label for each in weights if each.path == paths[0]]
    reach = {True: 0.01, False: 0.01}  # of M from 0.5, and of its parts from 0
    for name, values in found.items():
        whole = ".weight" in name
        reach[whole] = max(reach[whole], float(abs(values - 0.5 * whole).max()))
    columns = 1 + 3 * stages
    figure = new_figure(_NAME + _TILE * columns + 2 * _BARS, (_TILE + _TEXT) * len(paths) + 0.5)
    grid = figure.subplots(len(paths), columns, squeeze=False)
    shown: Dict[bool, Any] = {}
    for row, (fusion, line) in enumerate(zip(paths, grid)):
        for axes in line:
            axes.set_axis_off()
        for stage in range(stages):
            for number, part in enumerate(_PARTS):
                name = f"{fusion}.{part}{'' if stage == 0 else stage + 1}"
                if name in found:
                    values = found[name]
                    axes, whole = line[1 + 3 * stage + number], part == "weight"
                    limits = 0.5 * whole - reach[whole], 0.5 * whole + reach[whole]
                    shown[whole] = _draw(axes, values, limits, pixels.shape[0] / pixels.shape[1])
                    if row == 0:
                        axes.set_title(_HEADINGS[part] + (f", {labels[stage]}" if labels[stage] else ""), fontsize=8)
        line[0].set_axis_on()
        line[0].set(xticks=[], yticks=[])
        line[0].set_ylabel(_place(fusion, paths), fontsize=8)
        if row == 0:
            small = max(pixels.shape[:2]) < _TILE * dpi
            line[0].imshow(pixels, interpolation="bicubic" if small else "antialiased")
            line[0].set_title("input", fontsize=8)
        else:
            line[0].spines[:].set_visible(False)
            line[0].set_box_aspect(pixels.shape[0] / pixels.shape[1])
    _bars(figure, grid, shown, [each for each in weights if each.path == paths[0]])
    figure.suptitle(plain(title), fontsize=9)
    write_figure(figure, path, dpi)


def _place(path: str, paths: Sequence[str]) -> str:
    """Return the path of the block around a fusion, where that has no other."""
    above = path.rpartition(".")[0]
    return path if [each.rpartition(".")[0] for each in paths].count(above) > 1 else above or path


def _stages(weights: Sequence[FusionWeights]) -> int:
    return max(each.stage for each in weights)


def _draw(axes: Any, values: np.ndarray, limits: Sequence[float], shape: float) -> Any:
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    low, high = limits
    image = axes.imshow(
        values, vmin=low, vmax=high, cmap="PuOr_r" if low >= 0 else "coolwarm", interpolation="nearest", aspect="auto"
    )
    axes.set_box_aspect(shape)
    std = f" ± {values.std():.2f}" if values.size > 1 else ""
    axes.set_xlabel(f"{values.mean():.2f}{std}", fontsize=7, labelpad=2)
    return image


def _bars(figure: Any, grid: np.ndarray, shown: Dict[bool, Any], one: Sequence[FusionWeights]) -> None:
    """Colour bars that say which input the weights of ``one`` fusion multiply."""
    first = one[0]
    weighs = dict.fromkeys(f"weight of the {each.weighed}" for each in one)
    label = f"M: {f'{first.other} (0) or {first.weighed} (1)' if first.selects else ', '.join(weighs)}"
    for key, text in ((False, "parts of M, before the sigmoid"), (True, label)):
        if key in shown:
            bar = figure.colorbar(shown[key], ax=grid.ravel().tolist(), fraction=0.04, aspect=30, pad=0.01)
            bar.set_label(text, fontsize=8)
            bar.ax.tick_params(labelsize=7)
