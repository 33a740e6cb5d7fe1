"""The machines of a run, the processes on them, and what the environment of each says."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from ..errors import GluonAFFError, UsageError
from ..runtime import threads
from ..utils.files import PathLike

LOOPBACK = "127.0.0.1"
#: What goes over ssh besides what is set here: where programs and libraries are, and how they compute.
CARRIED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ")
CARRIED_PREFIXES = ("MXNET_", "OMP_", "KMP_", "CUDA_", "NCCL_", "PS_", "DMLC_", "GLUON_AFF_")
_SERVE = [sys.executable, "-c", "import gluon_aff"]  # scheduler and server do their work within the import


@dataclass(frozen=True)
class Host:
    """A machine: ``login`` is what ssh is given ([user@]name), empty means this one. ``slots`` workers run there."""

    login: str = ""
    slots: int = 1

    @property
    def is_here(self) -> bool:
        return not self.login

    @property
    def name(self) -> str:
        return self.login.rpartition("@")[2] or "localhost"

    def address(self) -> str:
        """Return its number, on which the parameter server listens. Raises GluonAFFError for a name without one."""
        try:
            return socket.gethostbyname(self.name)
        except OSError as error:
            raise GluonAFFError(f"host {self.name}: {error}; check the name in the host file") from None


@dataclass(frozen=True)
class Node:
    """One process: ``role`` is "scheduler", "server" or "worker"; ``environment`` is the whole one of a local process,
    and what ssh carries to a remote one."""

    role: str
    number: int
    host: Host
    command: List[str]
    environment: Dict[str, str]

    @property
    def name(self) -> str:
        return self.role if self.role == "scheduler" else f"{self.role} {self.number}"


def read_hosts(path: PathLike) -> List[Host]:
    """Read a host file: a line ``[user@]host[:slots]`` for each machine, ``#`` begins a comment.

    ``localhost`` and 127.0.0.1 are this machine, without ssh. Raises UsageError.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read host file {path}: {getattr(error, 'strerror', None) or error}") from error
    hosts = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        login, colon, slots = text.partition(":")
        if not text:
            continue
        bad_slots = colon and not (slots.isdigit() and int(slots) > 0)
        if not login or login.startswith("-") or len(text.split()) > 1 or bad_slots:
            raise UsageError(f"{path}, line {number}: {text!r} is not [user@]host or [user@]host:slots")
        hosts.append(Host("" if login in ("localhost", LOOPBACK) else login, int(slots or 1)))
    if not hosts:
        raise UsageError(f"host file {path} names no host: a line [user@]host[:slots] for each machine")
    return hosts


def cluster_nodes(
    command: Sequence[str],
    workers: int,
    servers: int,
    hosts: Optional[Sequence[Host]] = None,
    address: Optional[str] = None,
    timeout: float = 600.0,
    carry: Sequence[str] = (),
) -> List[Node]:
    """Return the processes of a run: scheduler (on this machine), servers and workers in turn over the hosts.

    Parameters
    ----------
    command
        What each worker runs.
    hosts
        None puts all on this machine, and on its loopback address.
    address
        This machine's, as the others reach it; needed when a host is another one.
    timeout
        Seconds that a worker waits for the others.
    carry
        Names of further variables that go over ssh.

    Raises UsageError: more workers than slots, no address.
    """
    places = [host for host in hosts or [Host(slots=workers)] for _ in range(host.slots)][:workers]
    if len(places) < workers:
        raise UsageError(f"{workers} workers for {len(places)} slots in the host file: write host:slots, or lower -n")
    hosts = list(dict.fromkeys(places))
    remote = [host.name for host in hosts if not host.is_here]
    if remote and not address:
        raise UsageError(f"{remote[0]} is another machine: give this one's address, as it is seen there, as --address")
    here = Host(address).address() if remote and address else LOOPBACK
    common = {
        "DMLC_PS_ROOT_URI": here,
        "DMLC_PS_ROOT_PORT": str(free_port(here)),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
        "GLUON_AFF_TIMEOUT": f"{timeout:g}",
    }

    def node(role: str, number: int, host: Host, program: Sequence[str], **own: str) -> Node:
        settings = {"DMLC_ROLE": role, "DMLC_NODE_HOST": here if host.is_here else host.address(), **own}
        return Node(role, number, host, list(program), {**_inherited(host, carry), **common, **settings})

    nodes = [node("scheduler", 0, Host(), _SERVE, OMP_NUM_THREADS="1")]
    for number in range(servers):
        nodes.append(node("server", number, hosts[number % len(hosts)], _SERVE, OMP_NUM_THREADS="1"))
    for number, host in enumerate(places):
        own = {
            "GLUON_AFF_RANK": str(number),
            threads.WORKERS_HERE: str(sum(place.login == host.login for place in places)),
            "MXNET_ENGINE_TYPE": os.environ.get("MXNET_ENGINE_TYPE", "NaiveEngine"),
        }
        nodes.append(node("worker", number, host, command, **own))
    return nodes


def free_port(address: str) -> int:
    """Return a port that nobody listens on. Raises GluonAFFError when ``address`` is not this machine's.

    Below the range from which the system gives ports to those who ask for any: none of the run's own is in the way.
    """
    start = int.from_bytes(os.urandom(2), "big")
    for step in range(50):
        port = 12000 + (start + step * 7919) % 20000
        with socket.socket() as listener:
            try:
                listener.bind((address, port))
                return port
            except OSError as error:
                problem = error
    raise GluonAFFError(f"no free port at {address}: {problem.strerror}; is --address an address of this machine?")


def _inherited(host: Host, carry: Sequence[str]) -> Dict[str, str]:
    """Without what is not meant for the children: ps-lite takes a bare PORT for its own, and a thread number that
    `runtime.threads` chose for this process is not the children's."""
    dropped = {"PORT", "DMLC_INTERFACE"} | ({threads.VARIABLE} if threads.chosen_here else set())
    return {
        name: value
        for name, value in os.environ.items()
        if name not in dropped
        and (host.is_here or name in CARRIED or name in carry or name.startswith(CARRIED_PREFIXES))
    }
