"""``gluon-aff doctor`` and ``native``: what this installation consists of and what is wrong with it; its operator.

The doctor must run where MXNet does not import, so it imports MXNet only after that is known to work.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import shlex
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

from ..errors import GluonAFFError
from ..runtime import cuda, mxnet_home, packages, threads
from ..utils.tables import text_table
from . import load_mxnet

_FEATURES = "MKLDNN CUDA CUDNN NCCL OPENMP OPENCV LAPACK F16C DIST_KVSTORE INT64_TENSOR_SIZE"


class Finding(NamedTuple):
    """One line of the diagnosis. ``state`` is 'ok', 'note', 'missing' (nothing broken: data or weights) or 'broken'."""

    topic: str
    state: str
    found: str
    remedy: Optional[str] = None


def doctor(args: argparse.Namespace) -> int:
    """Print the diagnosis; 1 when something is broken, else 0. Missing data sets and weights are not broken."""
    try:
        load_mxnet()
        findings = list(diagnose())
    except packages.MXNetImportError as failure:
        findings = without_mxnet(failure)
    if args.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.state:8} {finding.topic:10} {finding.found}")
            if finding.remedy:
                print(f"{'':19} -> {finding.remedy}")
    return int(any(finding.state == "broken" for finding in findings))


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


def without_mxnet(failure: packages.MXNetImportError) -> List[Finding]:
    """The diagnosis where MXNet does not import, and why."""
    return [
        python(),
        numpy(),
        Finding("MXNet", "broken", f"{failure.found} (wheels: {wheels()})", failure.command),
        openmp_threads(),
        required_packages(),
        Finding("data", "note", f"looked for in {mxnet_home() / 'datasets'} and {mxnet_home() / 'models'}"),
    ]


def python() -> Finding:
    text = f"{sys.version.split()[0]} ({sys.executable})"
    if (3, 8) <= sys.version_info < (3, 13):
        return Finding("Python", "ok", text)
    return Finding("Python", "broken", f"{text}; expected 3.8 to 3.12")


def numpy() -> Finding:
    command = packages.pip("install", packages.numpy_range())
    version = packages.version_of("numpy")
    if version is None:
        return Finding("NumPy", "broken", "not installed", command)
    release = tuple(int(part) for part in version.split(".")[:2])
    if release >= (2, 0):
        return Finding("NumPy", "broken", f"{version}; MXNet 1.9.1 needs a version below 2", command)
    if release >= (1, 24):
        return Finding("NumPy", "ok", f"{version}, with the names MXNet misses put back: import gluon_aff before mxnet")
    return Finding("NumPy", "ok", version)


def wheels() -> str:
    return ", ".join(f"{name} {packages.version_of(name)}" for name in packages.installed_wheels()) or "none"


def openmp_threads() -> Finding:
    cores, setting = threads.usable_cores(), os.environ.get(threads.VARIABLE)
    text = f"{threads.VARIABLE}={setting or ''}, {cores} physical core(s) usable"
    if threads.imported_before_us:
        return Finding("threads", "note", f"{text}; MXNet was imported before gluon_aff and may have taken one thread")
    if setting != str(cores):
        return Finding("threads", "note", f"{text}; as many threads as cores is fastest", f"unset {threads.VARIABLE}")
    return Finding("threads", "ok", text)


def required_packages() -> Finding:
    """Installed versions of what setup.py requires."""
    try:
        requirements = metadata.requires("gluon_aff") or []
    except metadata.PackageNotFoundError:
        command = packages.pip("install", ".[cpu]")
        return Finding("packages", "note", "gluon_aff is used from its folder, not installed", command)
    lines = [line for line in requirements if "extra ==" not in line]
    versions = {name: packages.version_of(name) for name in (re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines)}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Finding("packages", "broken", f"not installed: {' '.join(missing)}", packages.pip("install", *missing))
    return Finding("packages", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _native() -> Finding:
    """Whether fusions run as the native operator."""
    from ..nn import native

    entry, build = native.entry(), "gluon-aff native build"
    if native.switched_off():
        return Finding("native", "note", f"switched off by {native.VARIABLE}=0", f"unset {native.VARIABLE}")
    if native.identity:
        return Finding("native", "ok", f"operator in use, {entry.speed} times MXNet's operators ({entry.detail})")
    if entry.state in (native.State.FAILED, native.State.DAMAGED):
        return Finding("native", "note", f"operator {entry.state.value}, not in use: {entry.detail}", build)
    if entry.state == native.State.BUILT and entry.speed < 1:
        return Finding("native", "note", f"operator built, not in use: {entry.speed} times MXNet's operators", build)
    if entry.state == native.State.BUILT:
        return Finding("native", "note", f"operator built, but MXNet cannot load {entry.library}", build)
    if native.compiler() is None:
        text = "operator not built and no C++ compiler: fusions take longer"
        return Finding("native", "note", text, "apt-get install g++")
    return Finding("native", "note", "operator not built yet: it is when a fusion is first used", build)


def _features() -> Finding:
    import mxnet

    names, features = _FEATURES.split(), mxnet.runtime.Features()
    on = [name for name in names if features.is_enabled(name)]
    off = [name for name in names if name not in on]
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
        reason = cuda.unsupported(capability)
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
        from ..data import cifar
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
        damaged = [each for layout in archives for each in _damaged(folder / layout.archive, layout.check())]
        whole = ", ".join([*unpacked, *(layout.archive for layout in archives)])
        yield from damaged or [Finding("data", "ok", f"{name}: {whole} in {folder}")]


def _damaged(archive: Path, check: Callable[[Path], None]) -> Iterator[Finding]:
    try:
        check(archive)
    except GluonAFFError as error:
        remedy = f"rm {shlex.quote(str(archive))}, then download it again"
        yield Finding("data", "broken", f"{archive.name}: {error}", remedy)


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


def build(args: argparse.Namespace) -> int:
    from ..nn import native

    print("building; this takes some ten seconds")
    entry = native.build(again=True)
    used = "" if entry.speed >= 1 else ", so not used"
    print(f"built {entry.library}: {entry.speed} times as fast as MXNet's operators{used}")
    return 0


def status(args: argparse.Namespace) -> int:
    from ..nn import native

    entry = native.entry()
    used = "switched off by GLUON_AFF_NATIVE=0" if native.switched_off() else native.identity or "no"
    rows = [
        ("in use", used),
        ("cache", entry.state.value + (f": {entry.detail}" if entry.detail else "")),
        ("speed", f"{entry.speed} times MXNet's operators" if entry.library else "-"),
        ("folder", str(entry.folder)),
        ("compiler", native.compiler() or "none found"),
    ]
    print("\n".join(text_table(("native operator", ""), rows, left=2)))
    return 0


def clean(args: argparse.Namespace) -> int:
    from ..nn import native

    print(f"removed {native.clean()} built operator(s)")
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make both known to the command line."""
    command = commands.add_parser("doctor", help="what is installed here, what is wrong with it, how to fix it")
    command.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
    command.set_defaults(run=doctor, without_mxnet=True)

    command = commands.add_parser(
        "native",
        help="build the native operator, see whether it is in use, remove it",
        description="MS-CAM's fusions as one operator, compiled for this machine: see docs/deploy.md. It is built when "
        "a fusion is first used and a compiler is there; GLUON_AFF_NATIVE=0 prevents that, and its use.",
    )
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        ("build", build, "compile it, again if it is there"),
        ("status", status, "whether it is built and in use"),
        ("clean", clean, "remove what was built, for this machine and others"),
    ):
        actions.add_parser(name, help=text).set_defaults(run=run)
