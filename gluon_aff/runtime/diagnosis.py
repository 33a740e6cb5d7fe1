"""What can be said of an installation without importing MXNet, and how it is said."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from importlib import metadata
from typing import List, NamedTuple, Optional, Sequence

from . import packages, threads
from .home import mxnet_home


class Finding(NamedTuple):
    """One line of the diagnosis. ``state`` is 'ok', 'note', 'missing' (nothing broken: data or weights) or 'broken'."""

    topic: str
    state: str
    found: str
    remedy: Optional[str] = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``gluon-aff doctor``."""
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of a table")


def show(findings: Sequence[Finding], as_json: bool) -> int:
    """Print a diagnosis; 1 when something is broken, else 0. Missing data sets and weights are not broken."""
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        for finding in findings:
            print(f"{finding.state:8} {finding.topic:10} {finding.found}")
            if finding.remedy:
                print(f"{'':19} -> {finding.remedy}")
    return int(any(finding.state == "broken" for finding in findings))


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
