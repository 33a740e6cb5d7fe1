import os

import pytest
from script_runs import in_a_process

from gluon_aff.runtime import threads


def cpuinfo(*cpus):
    """Text of /proc/cpuinfo for (processor, physical id, core id) triples."""
    return "\n".join(
        f"processor\t: {p}\nmodel name\t: CPU: x\nphysical id\t: {s}\ncore id\t\t: {c}\n" for p, s, c in cpus
    )


# Two packages of two cores of two hardware threads; core ids repeat in each package.
TWO_SOCKETS = cpuinfo(*((cpu, cpu // 2 % 2, cpu % 2) for cpu in range(8)))


@pytest.mark.parametrize("cpus, cores", [(set(range(8)), 4), ({0, 4}, 1), ({0, 1}, 2), ({0, 2}, 2), ({6}, 1)])
def test_hardware_threads_of_a_core_count_once_and_packages_apart(cpus, cores):
    assert threads.physical_cores(TWO_SOCKETS, cpus) == cores


def test_without_topology_every_cpu_is_a_core():
    arm = "processor\t: 0\nCPU part\t: 0xd0c\n\nprocessor\t: 1\nCPU part\t: 0xd0c\n\nHardware\t: board\n"
    assert threads.physical_cores(arm, {0, 1}) == 2
    assert threads.physical_cores("", {0, 1, 2}) == 3


@pytest.mark.parametrize(
    ("folder", "files", "quota"),
    [
        ("user/7", {"cpu.max": "250000 100000\n"}, 2.5),
        ("cpu/jobs/7", {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}, 1.5),  # version 1
        (".", {"cpu.max": "300000 100000\n"}, 3),  # of a container whose group is the root
        ("user/7", {"cpu.max": "max 100000\n"}, None),
        ("cpu/jobs/7", {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_quota_of_the_own_group(tmp_path, folder, files, quota):
    membership = tmp_path / "membership"
    membership.write_text("3:cpuset:/\n1:cpu,cpuacct:/jobs/7\n0::/user/7\n")
    group = tmp_path / "cgroup", membership
    assert threads.cpu_quota(*group) is None
    (tmp_path / "cgroup" / folder).mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "cgroup" / folder / name).write_text(text)
    assert threads.cpu_quota(*group) == quota


@pytest.mark.parametrize("quota, expected", [(None, 4), (2.5, 2), (0.5, 1), (16.0, 4)])
def test_usable_cores_are_limited_by_the_quota(monkeypatch, quota, expected):
    monkeypatch.setattr(threads, "_read", lambda path: TWO_SOCKETS)
    monkeypatch.setattr(threads, "_allowed_cpus", lambda: set(range(8)))
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert threads.usable_cores() == expected


def test_the_users_settings_stay(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MXNET_CPU_PARALLEL_SIZE", "5")
    threads.use_physical_cores()
    threads.copy_with_one_thread()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MXNET_CPU_PARALLEL_SIZE"]) == ("7", "5")


TEAMS = """
import ctypes, os, threading, time
import numpy as np
import gluon_aff
import mxnet as mx

threads = lambda: len(os.listdir("/proc/self/task"))
mx.nd.zeros((1,)).asnumpy()
before = 0
while before != threads():  # until MXNet's own have started
    before = threads()
    time.sleep(1.5)  # on a busy machine they start late
mx.nd.array(np.zeros((1000, 1000), "float32")).asnumpy()
new = threads() - before  # before another is started, which the system may still list when it has been joined
library, found = ctypes.CDLL("libgomp.so.1"), []
another = threading.Thread(target=lambda: found.append(library.omp_get_max_threads()))
another.start(), another.join()
print(new, library.omp_get_max_threads(), *found)
"""


@pytest.mark.parametrize("engine, most", [("", 1), ("NaiveEngine", 2)])
def test_the_main_thread_has_no_openmp_threads(engine, most):
    settings = {"OMP_NUM_THREADS": "2", **({"MXNET_ENGINE_TYPE": engine} if engine else {})}
    done = in_a_process(TEAMS, **settings)
    assert done.stdout.split() == ["0", str(most), "2"], done.stderr
