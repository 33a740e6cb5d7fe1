"""Where a step's time goes, by MXNet's own profiler."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import nullcontext
from typing import Any, Callable, Dict, List

import mxnet as mx

from ...nn.attending import form as native_form
from ...utils.tables import text_table
from .measuring import NATIVE


def profile(
    network: str, options: Dict[str, Any], mode: str, batch: int, size: int, form: str, steps: int
) -> List[str]:
    """Lines of a table: milliseconds a step and calls a step by operator, the longest first.

    Operators run one by one, not in MXNet's bulks, so the sum is a little more than a step takes.
    """
    os.environ["MXNET_EXEC_BULK_EXEC_TRAIN"] = os.environ["MXNET_EXEC_BULK_EXEC_INFERENCE"] = "0"
    from .with_mxnet import build

    specification = {"network": network, "options": options, "mode": mode, "batch": batch, "size": size, "form": form}
    with nullcontext() if form in NATIVE else native_form.own_arithmetic():
        step = build(specification)
        for _ in range(2):
            step()
        figures = json.loads(_profiled(step, steps))["Time"]
    rows = [
        (name, f"{figure['Total'] / steps:.2f}", f"{figure['Count'] / steps:.0f}")
        for group, operators in figures.items()
        for name, figure in operators.items()
        if group == "operator"
    ]
    rows.sort(key=lambda row: -float(row[1]))
    total = sum(float(row[1]) for row in rows)
    return text_table(("operator", "ms", "calls"), [*rows, ("all", f"{total:.2f}", "")], left=1)


def _profiled(step: Callable[[], Any], steps: int) -> str:
    """MXNet's statistics of so many steps, as JSON.

    The profiler replaces the file that it is given, a device too, and writes its trace whether or not it is wanted.
    """
    with tempfile.TemporaryDirectory() as folder:
        mx.profiler.set_config(
            filename=os.path.join(folder, "trace.json"),
            profile_symbolic=True,
            profile_imperative=True,
            aggregate_stats=True,
        )
        mx.profiler.set_state("run")
        for _ in range(steps):
            step()
        mx.profiler.set_state("stop")
        statistics = mx.profiler.dumps(reset=True, format="json")
        mx.profiler.dump()  # here, for otherwise it comes at the end of the process
    return statistics
