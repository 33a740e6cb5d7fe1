"""`gluon-aff launch` over real ssh to two machines, and what happens when one of them or the cable fails.

The machines are namespaces (see machines.py), so this runs as root only, and otherwise says why it does not.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launching.machines import ADDRESSES, NOBODY, NotHere, TwoMachines
from script_runs import assert_equal, epochs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 8
LOST = "ssh failed or lost the connection"
TRAIN = f"--dataset digits --num-epochs {EPOCHS} --train-images 96 --test-images 64 --batch-size 16 --seed 3".split()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    try:
        lab = TwoMachines(tmp_path_factory.mktemp("lab"))
    except NotHere as reason:
        pytest.skip(f"no two machines here: {reason}")
    yield lab
    lab.end()


@pytest.fixture(scope="module")
def one_machine(lab, tmp_path_factory):
    """The run that two workers make on one machine, without ssh."""
    folder = tmp_path_factory.mktemp("one-machine")
    launch = Launch(lab, folder, hosts=None)
    assert launch.wait() == 0, launch.report
    return folder / "run"


class Launch:
    """`gluon-aff launch` on the first machine, with a worker on each host."""

    def __init__(self, lab, folder, *options, hosts=ADDRESSES, settings=()):
        self.began = time.monotonic()
        self.lab, self.folder, self.run = lab, folder, folder / "run"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DMLC_", "MXNET_"))},
            "PATH": f"{lab.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        where = []
        if hosts:
            (folder / "hosts").write_text("".join(f"{host}\n" for host in hosts))
            where = ["-H", folder / "hosts", "--address", ADDRESSES[0]]
        train = [sys.executable, ROOT / "train_cifar.py", *TRAIN, "--save-dir", self.run, *options]
        command = [sys.executable, "-m", "gluon_aff", "launch", "-n", "2", *settings, *where, "--", *train]
        self._process = subprocess.Popen(
            lab.machines[0].inside("sh", "-c", 'cd "$0" && exec "$@"', folder, *command),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_an_epoch(self):
        end = time.monotonic() + 120
        while not (self.run / "history.jsonl").exists() or not epochs(self.run):
            assert self._process.poll() is None, self._process.stderr.read()
            assert time.monotonic() < end, "no epoch within two minutes"
            time.sleep(0.02)

    def wait(self):
        self.report = self._process.communicate(timeout=240)[1]
        self.ended = time.monotonic()
        return self._process.returncode

    def fails(self, lab, code, said, seconds=15.0):
        """It ends with such a code and report, and nobody is left on the machines ``seconds`` later."""
        assert self.wait() == code, self.report
        assert said in self.report
        assert_nobody_left(lab, seconds)

    def is_resumed_to(self, expected, *settings):
        """It ended before its last epoch; the rest leads to where the run in ``expected`` led."""
        assert len(epochs(self.run)) < EPOCHS
        resumed = Launch(self.lab, self.folder, "--resume", settings=settings)
        assert resumed.wait() == 0, resumed.report
        assert_equal(resumed.run, expected)


def of_the_run(machine):
    return {pid: line for pid, line in machine.processes().items() if "sshd" not in line}


def assert_nobody_left(lab, seconds=15.0):
    end = time.monotonic() + seconds
    left = [of_the_run(machine) for machine in lab.machines]
    while any(left) and time.monotonic() < end:
        time.sleep(0.2)
        left = [of_the_run(machine) for machine in lab.machines]
    assert left == [{}, {}]


def worker_on(machine):
    """The training process itself, neither its supervisor nor the shell before it."""
    (pid,) = [pid for pid, line in of_the_run(machine).items() if re.match(r"\S*python\S* \S*train_cifar\.py", line)]
    return pid


def test_the_same_weights_as_on_one_machine(lab, one_machine, tmp_path):
    launch = Launch(lab, tmp_path)
    launch.wait_for_an_epoch()
    for machine in lab.machines:
        worker_on(machine)
    assert launch.wait() == 0, launch.report
    assert_equal(launch.run, one_machine)
    assert_nobody_left(lab)


def test_a_worker_that_is_killed(lab, one_machine, tmp_path):
    launch = Launch(lab, tmp_path)
    launch.wait_for_an_epoch()
    os.kill(worker_on(lab.machines[1]), signal.SIGKILL)
    said = f"worker 1 on {ADDRESSES[1]}: ended by SIGKILL; its log: launch-logs/worker-1.log"
    launch.fails(lab, 128 + signal.SIGKILL, said)
    launch.is_resumed_to(one_machine)


def test_sigterm_to_the_launcher_saves_and_resumes(lab, one_machine, tmp_path):
    launch = Launch(lab, tmp_path)
    launch.wait_for_an_epoch()
    (pid,) = [pid for pid, line in of_the_run(lab.machines[0]).items() if "-m gluon_aff launch" in line]
    os.kill(pid, signal.SIGTERM)
    launch.fails(lab, 143, "")
    launch.is_resumed_to(one_machine)


def test_a_cable_that_is_cut(lab, one_machine, tmp_path):
    launch = Launch(lab, tmp_path, settings=["-s", "2"])
    launch.wait_for_an_epoch()
    second, cut = lab.machines[1], time.monotonic()
    second.set_link("down")
    try:
        # the machine beyond the cut finds out by itself
        launch.fails(lab, 255, f"on {ADDRESSES[1]}: {LOST} (Timeout, server {ADDRESSES[1]}", seconds=100.0)
        assert launch.ended - cut < 90
    finally:
        second.set_link("up")
    launch.is_resumed_to(one_machine, "-s", "2")


def test_a_host_key_that_has_changed(lab, tmp_path):
    second = lab.machines[1]
    known = lab.known.read_text()
    line = second.start_ssh(lab.allowed, "another-host-key")
    try:
        launch = Launch(lab, tmp_path)
        launch.fails(lab, 255, f"on {ADDRESSES[1]}: {LOST} (Host key verification failed.)")
        log = (tmp_path / "launch-logs" / "worker-1.log").read_text(errors="replace")
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in log
        assert not launch.run.exists()
        assert lab.known.read_text() == known  # nobody trusted the new key on the user's behalf
    finally:
        lab.known.write_text(known.splitlines(keepends=True)[0] + line)


def test_a_host_that_is_not_known_yet_is_not_trusted(lab, tmp_path):
    known = lab.known.read_text()
    lab.known.write_text(known.splitlines(keepends=True)[0])
    try:
        Launch(lab, tmp_path).fails(lab, 255, f"on {ADDRESSES[1]}: {LOST} (Host key verification failed.)")
    finally:
        lab.known.write_text(known)


def test_a_host_that_does_not_answer(lab, tmp_path):
    launch = Launch(lab, tmp_path, hosts=[ADDRESSES[0], NOBODY])
    launch.fails(lab, 255, f"worker 1 on {NOBODY}: {LOST} (ssh: connect to host")
    assert launch.report.count("timed out") == 1
    assert launch.ended - launch.began < 90


def test_a_host_whose_sshd_says_nothing(lab, tmp_path):
    second = lab.machines[1]
    second.freeze_ssh()
    try:
        launch = Launch(lab, tmp_path)
        said = f"worker 1 on {ADDRESSES[1]}: {LOST} (Connection to {ADDRESSES[1]} port 22 timed out)"
        launch.fails(lab, 255, said)
        assert launch.ended - launch.began < 90
    finally:
        known = lab.known.read_text().splitlines(keepends=True)[0]
        lab.known.write_text(known + second.start_ssh(lab.allowed, "third-host-key"))
