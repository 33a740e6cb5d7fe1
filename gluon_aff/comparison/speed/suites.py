"""What is held against what: the suite of the README's table, a quick one, and one of a user's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .measuring import ENGINES, Case, Contender

AFF, IAFF = Contender("aff", "aff"), Contender("iaff", "iaff")
OPERATORS, ADD = Contender("aff, operators", "aff", "static"), Contender("add", "add", "static")
LITERAL, FOLDED = Contender("literal", "aff", "literal"), Contender("aff, folded", "aff", "folded")
INT8 = Contender("aff, int8", "aff", "int8")
TORCH = Contender("torch", "aff", "eager", "torch")
TORCH_LAST = Contender("torch, channels_last", "aff", "channels_last", "torch")
TORCH_COMPILED = Contender("torch, compiled", "aff", "compiled", "torch")
TORCH_ADD = Contender("torch add", "add", "channels_last", "torch")
ONNX = Contender("onnxruntime", "aff", "eager", "onnxruntime")
OPENVINO = Contender("openvino", "aff", "eager", "openvino")

WIDE = {"blocks": 5, "channel_times": 4, "classes": 100}
NARROW = {"blocks": 1, "channel_times": 1, "classes": 100}


@dataclass(frozen=True)
class Ratio:
    """A row of the table: speed of the best of ours over the best of others in a case, or memory over memory."""

    label: str
    case: str
    ours: Tuple[str, ...]
    others: Tuple[str, ...]
    goal: Optional[float] = None
    memory: bool = False

    def sides(self) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
        """Names of ours and of the others."""
        return self.ours, self.others


@dataclass(frozen=True)
class Suite:
    """Cases to measure and the ratios to report."""

    cases: Sequence[Case]
    ratios: Sequence[Ratio]


def _reach() -> Suite:
    inferring = (AFF.name, FOLDED.name)
    torch, compiled = ("torch", "torch, channels_last"), ("torch", "torch, channels_last", "torch, compiled")
    everything = [AFF, OPERATORS, IAFF, ADD, LITERAL, TORCH, TORCH_LAST, TORCH_ADD]
    inference = [AFF, OPERATORS, FOLDED, INT8, IAFF, ADD, TORCH, TORCH_LAST, TORCH_COMPILED, ONNX, OPENVINO]
    cases: List[Case] = [
        Case("train x4", "cifar_resnet", "train", 32, 32, everything, WIDE),
        Case("train x1", "cifar_resnet", "train", 128, 32, everything, NARROW),
        Case("infer x4", "cifar_resnet", "infer", 32, 32, inference, WIDE),
        Case("infer x1", "cifar_resnet", "infer", 128, 32, inference, NARROW),
        Case("train resnet50", "aff_resnet50", "train", 8, 224, [AFF, OPERATORS, ADD]),
        Case("infer resnet50", "aff_resnet50", "infer", 8, 224, [AFF, OPERATORS, FOLDED, INT8, ADD]),
        Case("train fpn", "aff_fpn_resnet20", "train", 8, 480, [AFF, ADD], {"stem": "tiny"}),  # some 10 GB each
    ]
    ratios = [
        Ratio("train AFF x4 batch 32 / add", "train x4", ("aff",), ("add",), 0.85),
        Ratio("... / PyTorch's best", "train x4", ("aff",), torch, 1.05),
        Ratio("... / literal", "train x4", ("aff",), ("literal",), 1.75),
        Ratio("train AFF x1 b=1 batch 128 / add", "train x1", ("aff",), ("add",), 0.75),
        Ratio("... / PyTorch's best", "train x1", ("aff",), torch, 1.2),
        Ratio("train iAFF x4 / add", "train x4", ("iaff",), ("add",), 0.72),
        Ratio("infer AFF x4 batch 32 / add", "infer x4", inferring, ("add",), 0.85),
        Ratio("... / best of PyTorch and ONNX Runtime", "infer x4", inferring, (*compiled, "onnxruntime"), 1.0),
        Ratio("infer AFF x1 / PyTorch's best", "infer x1", inferring, compiled, 1.1),
        Ratio("AFF-ResNet-50, 224, batch 8: train / add", "train resnet50", ("aff",), ("add",), 0.88),
        Ratio(
            "AFF-ResNet-50, 224, batch 8: int8 / float32", "infer resnet50", ("aff, int8",), ("aff, operators",), 3.0
        ),
        Ratio("AFF-FPN b=3 tiny, 480, batch 8: train / add", "train fpn", ("aff",), ("add",), 0.92),
        Ratio("peak memory of a training step / literal", "train x4", ("aff",), ("literal",), 0.9, memory=True),
    ]
    return Suite(cases, ratios)


def _quick() -> Suite:
    cases = [
        Case(f"{mode} x1", "cifar_resnet", mode, 16, 32, [AFF, OPERATORS, ADD], NARROW) for mode in ("train", "infer")
    ]
    return Suite(cases, [Ratio(f"{case.name} / add", case.name, ("aff",), ("add",)) for case in cases])


SUITES = {"reach": _reach, "quick": _quick}


def single(
    network: str,
    mode: str,
    batch: int,
    size: int,
    fusions: Sequence[str],
    forms: Sequence[str],
    against: Sequence[str],
    options: Dict[str, Any],
) -> Suite:
    """One case of a user's choice: every fusion in every form, and what they are held against."""
    contenders = [Contender(f"{fusion}, {form}", fusion, form) for fusion in fusions for form in forms]
    for other in against:
        if other in ENGINES:
            contenders.append(Contender(other, fusions[0], "eager", other))
        else:
            contenders.append(ADD if other == "add" else LITERAL)
    case = Case(f"{mode} {network}", network, mode, batch, size, contenders, options)
    first = contenders[0].name
    return Suite([case], [Ratio(f"{first} / {c.name}", case.name, (first,), (c.name,)) for c in contenders[1:]])
