"""How many threads MXNet's operators should take (one per physical core that this process may use), what keeps them
from waiting for each other, and threads that work ahead of a loop."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Callable, Deque, Iterable, Iterator, Optional, Set, TypeVar

from .packages import MXNetImportError

Item = TypeVar("Item")
Made = TypeVar("Made")

VARIABLE = "OMP_NUM_THREADS"
MOST = 4096  # with many more, the OpenMP library cannot start them and ends the process
COPIES = "MXNET_CPU_PARALLEL_SIZE"  # elements from which MXNet copies an array with several threads
WORKERS_HERE = "GLUON_AFF_WORKERS_HERE"  # by `gluon-aff launch`: processes that share this machine's cores

imported_before_us = "mxnet" in sys.modules  # gluon_aff was imported too late to choose
chosen_here = False  # whether the variable's value is ours and not the user's


def use_physical_cores() -> None:
    """Set OMP_NUM_THREADS to `usable_cores`, divided by the workers of a run on this machine, unless the user has.

    Only of use before MXNet is imported: its OpenMP library reads the variable once. Unset, MXNet takes one thread.

    Raises
    ------
    MXNetImportError
        When the user's value is one that MXNet would abort with.
    """
    global chosen_here
    chosen = os.environ.get(VARIABLE)
    if chosen and not (re.fullmatch(r"\s*[+-]?\d+", chosen, re.ASCII) and int(chosen) <= MOST):
        raise MXNetImportError(
            f"found {VARIABLE}={chosen}, expected one whole number from 1 to {MOST}",
            f"unset {VARIABLE}",
            ", then it is the number of physical cores",
        )
    if not chosen:
        workers = os.environ.get(WORKERS_HERE, "1")
        os.environ[VARIABLE] = str(max(1, usable_cores() // int(workers)))
        chosen_here = True


def copy_with_one_thread() -> None:
    """Have MXNet copy arrays from and to NumPy with one thread, unless the user has set a size.

    Python's thread copies. With several, it gets OpenMP threads of its own beside those of MXNet's engine; GCC's OpenMP
    library then sees more threads than processors and has all of them sleep at every barrier. Fed from NumPy, training
    was up to 1.45 times as fast without (docs/install.md); results are the same.
    """
    os.environ.setdefault(COPIES, str(2**31 - 1))


def keep_python_thread_single() -> None:
    """Give the calling thread no OpenMP threads of its own, for the reason that `copy_with_one_thread` gives.

    It would get them where oneDNN brings an array that is read back into NumPy's layout. Operators run in threads of
    MXNet's engine; with the NaiveEngine they run in the calling one, and nothing is changed.
    """
    if os.environ.get("MXNET_ENGINE_TYPE") != "NaiveEngine":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libgomp.so.1").omp_set_num_threads(1)


def usable_cores() -> int:
    """Physical cores among the CPUs this process may run on, and no more than its cgroup grants. At least 1."""
    cores = physical_cores(_read(Path("/proc/cpuinfo")), _allowed_cpus())
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def physical_cores(cpuinfo: str, cpus: Set[int]) -> int:
    """Distinct (package, core) pairs of ``cpus`` in the text of /proc/cpuinfo.

    A CPU without such lines (most ARM kernels) or without an entry at all counts as a core of its own.
    """
    cores = {}
    for entry in cpuinfo.split("\n\n"):
        fields = dict(re.findall(r"^([^:\n]*?)\s*:[ \t]*(.*?)\s*$", entry, re.MULTILINE))
        if fields.get("processor", "").isdigit() and "core id" in fields:
            cores[int(fields["processor"])] = (fields.get("physical id", "0"), fields["core id"])
    return len({cores.get(cpu, cpu) for cpu in cpus})


def processor_name() -> Optional[str]:
    """Name of the CPU; None where the kernel does not tell it."""
    found = re.search(r"^model name\s*:\s*(.+)", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return found.group(1).strip() if found else None


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Optional[float]:
    """CPUs' worth of time that the cgroup (version 2, then 1) allows; None where there is no limit."""
    for folder in _cgroup_folders(root, membership):
        unified = _read(folder / "cpu.max").split()
        if len(unified) == 2 and unified[0] != "max":
            return int(unified[0]) / int(unified[1])
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota and period and int(quota) > 0:
            return int(quota) / int(period)
    return None


def _cgroup_folders(root: Path, membership: Path) -> Iterator[Path]:
    """The process's own groups first, then the root, which is a container's own group."""
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            yield root / (controllers and "cpu") / path.lstrip("/")
    yield root
    yield root / "cpu"


def _allowed_cpus() -> Set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def prefetch(
    make: Callable[[Item], Made],
    items: Iterable[Item],
    name: str,
    workers: Optional[int] = None,
    ahead: Optional[int] = None,
) -> Iterator[Made]:
    """``make`` of each item, in their order; ``workers`` threads called ``name`` are up to ``ahead`` items in front.

    By default as many threads as `usable_cores`, four items each. What ``make`` raises is raised here. Closing or
    dropping the iterator ends the threads.
    """
    workers = workers or usable_cores()
    ahead = 4 * workers if ahead is None else ahead
    pending: Deque[Future] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
    try:
        for item in items:
            pending.append(pool.submit(make, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown()


def _read(path: Path) -> str:
    """The text of a file; of none that can be read, none."""
    with suppress(OSError):
        return path.read_text()
    return ""
