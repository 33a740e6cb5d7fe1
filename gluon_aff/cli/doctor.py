"""``gluon-aff doctor``: what this installation consists of, what is wrong with it, and how to fix it.

It must run where MXNet does not import, so it imports MXNet only after that is known to work.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Sequence

from ..errors import GluonAFFError
from ..runtime import cuda, packages
from ..runtime.diagnosis import (
    Finding,
    add_options,
    numpy,
    openmp_threads,
    python,
    required_packages,
    show,
    wheels,
    without_mxnet,
)
from .starting import load_mxnet

if TYPE_CHECKING:
    from ..data.images.cifar import Layout

FEATURES = (
    "MKLDNN",
    "CUDA",
    "CUDNN",
    "NCCL",
    "OPENMP",
    "OPENCV",
    "LAPACK",
    "F16C",
    "DIST_KVSTORE",
    "INT64_TENSOR_SIZE",
)


def doctor(args: argparse.Namespace) -> int:
    try:
        load_mxnet()
    except packages.MXNetImportError as failure:
        return show(without_mxnet(failure), args.json)
    return show(list(diagnose()), args.json)


def diagnose() -> Iterator[Finding]:
    """Everything worth knowing about this installation, where MXNet does import."""
    yield python()
    yield numpy()
    yield Finding("MXNet", "ok", f"{sys.modules['mxnet'].__version__} (wheels: {wheels()})")
    yield _features()
    yield from _devices()
    yield openmp_threads()
    yield _native()
    yield required_packages()
    yield _importable("GluonCV", "gluoncv")
    yield _importable("OpenCV", "cv2")
    yield from _datasets()
    yield _weights()


def _native() -> Finding:
    """Whether fusions run as the native operator."""
    from ..nn import native

    entry, build = native.entry(), "gluon-aff native build"
    if native.switched_off():
        return Finding("native", "note", f"switched off by {native.VARIABLE}=0", f"unset {native.VARIABLE}")
    if native.identity:
        return Finding("native", "ok", f"operator in use ({entry.detail})")
    if entry.state in (native.State.FAILED, native.State.DAMAGED):
        return Finding("native", "note", f"operator {entry.state.value}, not in use: {entry.detail}", build)
    if entry.state == native.State.BUILT:
        return Finding("native", "note", f"operator built, but MXNet cannot load {entry.library}", build)
    if native.compiler() is None:
        text = "operator not built and no C++ compiler: fusions take longer"
        return Finding("native", "note", text, "apt-get install g++")
    return Finding("native", "note", "operator not built yet: it is when a fusion is first used", build)


def _features() -> Finding:
    import mxnet

    features = mxnet.runtime.Features()
    on = [name for name in FEATURES if features.is_enabled(name)]
    off = [name for name in FEATURES if name not in on]
    return Finding("features", "ok", f"{' '.join(on)}; without {' '.join(off)}")


def _devices() -> Iterator[Finding]:
    from ..runtime import devices

    capabilities = cuda.capabilities()
    try:
        count = devices.count()
    except GluonAFFError as error:
        yield Finding("devices", "broken", str(error))
        return
    if not count and capabilities:
        text = f"CPU only: this MXNet cannot use the {len(capabilities)} GPU(s) of this machine"
        yield Finding("devices", "note", text, packages.replace_wheels(["mxnet"], ".[cu112]"))
    elif not count:
        yield Finding("devices", "ok", "CPU only")
    for number, capability in enumerate(capabilities[:count]):
        reason = cuda.unfit(capability)
        if reason:
            yield Finding("devices", "broken", f"GPU {number}: {reason}", "give --gpus '' to run on the CPU")
        else:
            yield Finding("devices", "ok", f"GPU {number}: sm_{capability[0]}{capability[1]}")


def _importable(topic: str, module: str) -> Finding:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:  # a broken package may raise anything
        text = " ".join(str(error).split())
        command = "apt-get install libgl1 libglib2.0-0" if "libGL" in text or "libgthread" in text else None
        return Finding(topic, "broken", f"cannot be imported: {text}", command)
    return Finding(topic, "ok", "can be imported")


def _datasets() -> Iterator[Finding]:
    try:
        from ..data.images import cifar
    except ImportError as error:
        yield Finding("data", "broken", f"no data can be read: {error}", packages.pip("install", ".[cpu]"))
        return
    for name, layouts in cifar.LAYOUTS.items():
        folder = cifar.default_place(name)
        unpacked = [layout.folder for layout in layouts if (folder / layout.folder).is_dir()]
        archives = [layout for layout in layouts if (folder / layout.archive).is_file()]
        if not unpacked and not archives:
            expected = " or ".join(layout.archive for layout in layouts)
            remedy = f"python train_cifar.py --dataset {name} downloads it, or put the file there"
            yield Finding("data", "missing", f"{name}: no {expected} in {folder}", remedy)
            continue
        damaged = list(_damaged(folder, archives))
        whole = ", ".join([*unpacked, *(layout.archive for layout in archives)])
        yield from damaged or [Finding("data", "ok", f"{name}: {whole} in {folder}")]


def _damaged(folder: Path, archives: Sequence[Layout]) -> Iterator[Finding]:
    for layout in archives:
        try:
            layout.check()(folder / layout.archive)
        except GluonAFFError as error:
            remedy = f"rm {shlex.quote(str(folder / layout.archive))}, then download it again"
            yield Finding("data", "broken", str(error), remedy)


def _weights() -> Finding:
    from .. import published

    folder = published.models_directory()
    sizes: Dict[str, List[int]] = {}  # a file whose network is uncertain is in the catalogue more than once
    for record in published.catalogue().values():
        sizes.setdefault(record["file"], []).append(record["bytes"])
    found = {name: (folder / name).stat().st_size for name in sizes if (folder / name).is_file()}
    damaged = [
        f"{name} has {size} bytes, expected {' or '.join(map(str, sizes[name]))}"
        for name, size in found.items()
        if size not in sizes[name]
    ]
    if damaged:
        return Finding("weights", "broken", f"in {folder}: {'; '.join(damaged)}", "get these files again")
    text = f"{len(found)} of the {len(sizes)} files that the authors published in {folder}"
    return Finding("weights", "ok" if found else "missing", text)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser("doctor", help="what is installed here, what is wrong with it, how to fix it")
    add_options(command)
    command.set_defaults(run=doctor, without_mxnet=True)
