"""Which processes a run has, where they are, and what their environment says."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence

from ..errors import GluonAFFError, UsageError
from ..runtime import threads
from .host_file import LOOPBACK, Host

#: What goes over ssh besides what is set here: where programs and libraries are, and how they compute.
CARRIED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ")
CARRIED_PREFIXES = ("MXNET_", "OMP_", "KMP_", "CUDA_", "NCCL_", "PS_", "DMLC_", "GLUON_AFF_")
_NODE = [sys.executable, "-c", "import gluon_aff"]  # scheduler and server do their work within the import


@dataclass(frozen=True)
class Member:
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


def make_plan(
    command: Sequence[str],
    workers: int,
    servers: int,
    hosts: Optional[Sequence[Host]] = None,
    address: Optional[str] = None,
    timeout: float = 600.0,
    carry: Sequence[str] = (),
) -> List[Member]:
    """The members of a run: scheduler (on this machine), servers and workers in turn over the hosts.

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
    address = (_number(address) if remote and address else None) or LOOPBACK
    common = {
        "DMLC_PS_ROOT_URI": address,
        "DMLC_PS_ROOT_PORT": str(free_port(address)),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
        "GLUON_AFF_TIMEOUT": f"{timeout:g}",
    }

    def member(role: str, number: int, host: Host, program: Sequence[str], **own: str) -> Member:
        node = address if host.is_here else host.address()
        settings = {**common, "DMLC_ROLE": role, "DMLC_NODE_HOST": node, **own}
        return Member(role, number, host, list(program), {**_inherited(os.environ, host, carry), **settings})

    members = [member("scheduler", 0, Host(), _NODE, OMP_NUM_THREADS="1")]
    for number in range(servers):
        members.append(member("server", number, hosts[number % len(hosts)], _NODE, OMP_NUM_THREADS="1"))
    for number, host in enumerate(places):
        own = {
            "GLUON_AFF_RANK": str(number),
            threads.WORKERS_HERE: str(sum(place.login == host.login for place in places)),
        }
        own["MXNET_ENGINE_TYPE"] = os.environ.get("MXNET_ENGINE_TYPE", "NaiveEngine")
        members.append(member("worker", number, host, command, **own))
    return members


def crowded(plan: Sequence[Member]) -> Optional[str]:
    """What to know where this machine's workers together take more threads than it has cores; else None."""
    here = [member for member in plan if member.role == "worker" and member.host.is_here]
    each, cores = int(os.environ.get(threads.VARIABLE) or 1), threads.usable_cores()
    if threads.chosen_here or each < 2 or each * len(here) <= cores:
        return None
    return (
        f"note: {len(here)} workers of {threads.VARIABLE}={each} threads on {cores} cores wait for each other, which "
        f"can be many times slower: unset {threads.VARIABLE}, then the workers share the cores"
    )


def free_port(address: str) -> int:
    """A port that nobody listens on at ``address``. Raises GluonAFFError when the address is not this machine's.

    Below the range from which the system gives ports to those who ask for any: none of the run's own is in the way.
    """
    for port in _candidates():
        with socket.socket() as listener:
            try:
                listener.bind((address, port))
            except OSError as error:
                problem = error
                continue
        return port
    raise GluonAFFError(f"no free port at {address}: {problem.strerror}; is --address an address of this machine?")


def _candidates() -> List[int]:
    start = int.from_bytes(os.urandom(2), "big")
    return [12000 + (start + step * 7919) % 20000 for step in range(50)]


def _number(address: str) -> str:
    return Host(address).address()


def _inherited(environment: Mapping[str, str], host: Host, carry: Sequence[str]) -> Dict[str, str]:
    """Without what is not meant for the children: ps-lite takes a bare PORT for its own, and a thread number that
    `gluon_aff.threads` chose for this process is not the children's."""
    dropped = {"PORT", "DMLC_INTERFACE"} | ({threads.VARIABLE} if threads.chosen_here else set())
    return {
        name: value
        for name, value in environment.items()
        if name not in dropped
        and (host.is_here or name in CARRIED or name in carry or name.startswith(CARRIED_PREFIXES))
    }
