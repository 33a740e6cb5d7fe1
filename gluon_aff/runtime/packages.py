"""What pip has installed here, and the pip commands that our messages tell the user to run."""

from __future__ import annotations

import re
import shlex
import sys
from importlib import metadata
from typing import List, Optional

from ..errors import GluonAFFError

_KINDS = ("", "-cu112", "-cu110", "-cu102", "-cu101", "-cu100", "-native", "-mkl")


def version_of(package: str) -> Optional[str]:
    """The installed version of a package; None when pip knows of none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def installed_wheels() -> List[str]:
    """Names of the installed packages that bring MXNet. More than one overwrite each other's files."""
    return [f"mxnet{kind}" for kind in _KINDS if version_of(f"mxnet{kind}")]


def pinned(package: str) -> str:
    """``package==version`` as our installed metadata has it; in a clone never installed, the extra that holds it."""
    try:
        requirements = metadata.requires("gluon_aff") or []
    except metadata.PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)\s*\(?(==[^;)\s]+)", requirement)
        if match and match.group(1) == package:
            return "".join(match.groups())
    return ".[cpu]" if package == "mxnet" else ".[cu112]"


def numpy_range() -> str:
    """A NumPy that MXNet takes as it is or, on Python 3.12, with names put back."""
    return "numpy<1.24" if sys.version_info < (3, 12) else "numpy>=1.26,<2"


def pip(*arguments: str) -> str:
    """A pip command for the running interpreter, quoted for a shell."""
    return command("-m", "pip", *arguments)


def doctor() -> str:
    """The command that prints the full diagnosis, also where MXNet cannot be imported."""
    return command("-m", "gluon_aff", "doctor")


def command(*arguments: str) -> str:
    return " ".join(shlex.quote(word) for word in (sys.executable, *arguments))


def replace_wheels(wheels: List[str], requirement: str) -> str:
    """The command that takes these MXNet wheels away and installs what ``requirement`` says."""
    return f"{pip('uninstall', '-y', *wheels)} && {pip('install', requirement)}"


class MXNetImportError(GluonAFFError, ImportError):
    """MXNet cannot be imported here. The message says what was found and what to run."""

    def __init__(self, found: str, command: Optional[str] = None, hint: str = "") -> None:
        run = f"Run: {command}{hint} (full diagnosis: {doctor()})"
        super().__init__(f"{found}. {run if command else f'Full diagnosis: {doctor()}'}")
        self.found = found
        self.command = command
