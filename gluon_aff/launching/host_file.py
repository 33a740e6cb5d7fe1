"""The machines of a run."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import List

from ..errors import GluonAFFError, UsageError
from ..utils.files import PathLike

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Host:
    """A machine: ``login`` is what ssh is given ([user@]name), None means this one. ``slots`` workers run there."""

    login: str = ""
    slots: int = 1

    @property
    def is_here(self) -> bool:
        return not self.login

    @property
    def name(self) -> str:
        return self.login.rpartition("@")[2] or "localhost"

    def address(self) -> str:
        """Its number, on which the parameter server listens. Raises GluonAFFError for a name without one."""
        try:
            return socket.gethostbyname(self.name)
        except OSError as error:
            raise GluonAFFError(f"host {self.name}: {error}; check the name in the host file") from None


def read_hosts(path: PathLike) -> List[Host]:
    """A host file: a line ``[user@]host[:slots]`` for each machine, ``#`` begins a comment.

    ``localhost`` and 127.0.0.1 are this machine, without ssh. Raises UsageError.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read host file {path}: {getattr(error, 'strerror', None) or error}") from error
    hosts = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        login, colon, slots = text.partition(":")
        if not login or login.startswith("-") or len(text.split()) > 1 or (colon and not _positive(slots)):
            raise UsageError(f"{path}, line {number}: {text!r} is not [user@]host or [user@]host:slots")
        here = login in ("localhost", LOOPBACK)
        hosts.append(Host("" if here else login, int(slots or 1)))
    if not hosts:
        raise UsageError(f"host file {path} names no host: a line [user@]host[:slots] for each machine")
    return hosts


def _positive(text: str) -> bool:
    return text.isdigit() and int(text) > 0
