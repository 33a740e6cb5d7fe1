"""Contenders as processes that take turns, and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from ...errors import GluonAFFError, last_line
from ...models import build_model
from ...models.summary import summarize
from ...training.history import git_commit

HERE = Path(__file__).resolve().parent
OTHERS = HERE.parents[2] / "benchmarks" / "with_others.py"  # of a clone; not installed
PRODUCT_SIDE = 2048  # of the square matrices whose product says what this machine can do
ENGINES = ("torch", "onnxruntime", "openvino")
NATIVE = ("native", "folded")  # forms that may use the native operator


@dataclass(frozen=True)
class Contender:
    """What is measured under a name.

    Attributes
    ----------
    name : str
        Of the row.
    fusion : str
    form : str
        As `with_mxnet.build` takes it; for another engine "eager", "channels_last" or "compiled".
    engine : {"mxnet", "torch", "onnxruntime", "openvino"}
    """

    name: str
    fusion: str
    form: str = "native"
    engine: str = "mxnet"


@dataclass(frozen=True)
class Case:
    """One network at one size, trained or run, by several contenders.

    Attributes
    ----------
    name : str
    network : str
        A name of `gluon-aff models`, or ``cifar_resnet`` and the like with ``options``.
    mode : {"train", "infer"}
    batch, size : int
        Images, and their height and width.
    """

    name: str
    network: str
    mode: str
    batch: int
    size: int
    contenders: Sequence[Contender]
    options: Dict[str, Any] = field(default_factory=dict)


class _Process:
    """A contender that runs."""

    def __init__(self, python: str, builder: Path, specification: Dict[str, Any], threads: int, native: bool):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "GLUON_AFF_NATIVE": str(int(native))}
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, str(HERE / "serving.py"), str(builder), json.dumps(specification)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._told,
            text=True,
        )

    def reply(self) -> Dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._told.seek(0)
            raise GluonAFFError(last_line(self._told.read()) or "it ended without a word")
        return json.loads(line)

    def step(self) -> Dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of one that has ended, which has no reply either
            self._process.stdin.write("step\n")
            self._process.stdin.flush()
        return self.reply()

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=30)
        self._told.close()


def measure(
    case: Case,
    threads: int,
    rounds: int,
    warm_up: int = 2,
    log: Callable[[str], None] = lambda line: None,
    others_python: str = sys.executable,
) -> Dict[str, Any]:
    """Seconds of every contender's step in ``rounds`` rounds, and of a large product for comparison.

    ``others_python`` is the Python that has the other libraries: GluonCV refuses to be imported beside PyTorch 2.

    Returns
    -------
    dict
        ``results``: name -> median and spread (seconds), images/s, GFLOP/s, share of the product's, and the memory in
        MiB that steps took at most. ``failed``: name -> why.
    """
    running: Dict[str, _Process] = {}
    failed: Dict[str, str] = {}
    everyone = [*case.contenders, Contender("product", "-", "product")]
    seconds: Dict[str, List[float]] = {}
    peaks: Dict[str, float] = {}

    def drop(name: str, error: GluonAFFError) -> None:
        failed[name] = str(error)
        log(f"{case.name}: {name} cannot run: {error}")
        running.pop(name).end()
        seconds.pop(name, None)

    try:
        for contender in everyone:
            log(f"{case.name}: starting {contender.name}")
            running[contender.name] = process = _start(contender, case, threads, warm_up, others_python)
            try:
                process.reply()
            except GluonAFFError as error:
                drop(contender.name, error)
        for number in range(rounds):
            log(f"{case.name}: round {number + 1} of {rounds}")
            for name, process in list(running.items()):
                try:
                    answer = process.step()
                except GluonAFFError as error:
                    drop(name, error)
                    continue
                seconds.setdefault(name, []).append(answer["seconds"])
                peaks[name] = answer["peak_mib"]
    finally:
        for process in running.values():
            process.end()
    return {
        **{name: getattr(case, name) for name in ("name", "network", "mode", "batch", "size", "options")},
        "threads": threads,
        "rounds": rounds,
        "results": _results(case, seconds, peaks),
        "failed": failed,
    }


def _start(contender: Contender, case: Case, threads: int, warm_up: int, others_python: str) -> _Process:
    specification = {
        "network": case.network,
        "options": {**case.options, "fusion": contender.fusion},
        "mode": case.mode,
        "batch": case.batch,
        "size": case.size,
        "form": contender.form,
        "engine": contender.engine,
        "warm_up": warm_up,
    }
    ours = contender.engine == "mxnet"
    python, builder = (sys.executable, HERE / "with_mxnet.py") if ours else (others_python, OTHERS)
    return _Process(python, builder, specification, threads, contender.form in NATIVE)


def _results(case: Case, seconds: Dict[str, List[float]], peaks: Dict[str, float]) -> Dict[str, Any]:
    product = 2 * PRODUCT_SIDE**3 / statistics.median(seconds["product"]) / 1e9 if "product" in seconds else None
    found: Dict[str, Any] = {}
    for contender in case.contenders:
        times = seconds.get(contender.name)
        if not times:
            continue
        median = statistics.median(times)
        work = _multiplications(case, contender.fusion) * 2 * (3 if case.mode == "train" else 1) * case.batch
        rate = work / median / 1e9
        found[contender.name] = {
            "median": median,
            "spread": [min(times), max(times)],
            "seconds": times,
            "images_per_second": case.batch / median,
            "gflops": rate,
            "of_product": rate / product if product else None,
            "peak_mib": peaks[contender.name],
        }
    if product:
        found["product"] = {"gflops": product, "seconds": seconds["product"]}
    return found


def _multiplications(case: Case, fusion: str) -> int:
    """Multiply-accumulates of one image's inference."""
    net = build_model(case.network, **{**case.options, "fusion": fusion})
    return summarize(net, (1, 3, case.size, case.size)).macs


def commit() -> Optional[str]:
    """The commit of the clone that this package is used from."""
    return git_commit(HERE.parents[2])


def machine() -> Dict[str, Optional[str]]:
    """The processor's name and cores, for the report."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return {"processor": names[0] if names else None, "cores": str(len(names) or os.cpu_count())}
