"""gluon-aff launch: who is started where with what, and that nobody is left behind. No MXNet in the processes here."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gluon_aff.cli.main import build_parser
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.launching import Host, Node, cluster_nodes, launch, launcher, read_hosts
from gluon_aff.launching.cluster import free_port
from gluon_aff.runtime import threads

FOREVER = "import time; time.sleep(300)"


def node(role, number, code, *arguments):
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    return Node(role, number, Host(), command, dict(os.environ))


@pytest.fixture(autouse=True)
def little_watchdog(monkeypatch):
    monkeypatch.setattr(launcher, "AFTER_FAILURE", 1.0)


def run(tmp_path, *nodes):
    lines = []
    began = time.monotonic()
    code = launch(nodes, tmp_path / "logs", lines.append)
    return code, lines, time.monotonic() - began


def alive(pid):
    """Whether a process runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(path):
    while not (path.exists() and path.read_text()):
        time.sleep(0.02)
    return path.read_text()


def gone(pid, seconds=5.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_host_file(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# the lab\nlocalhost:2\nme@node1:4  # big\n\nnode2\n")
    assert read_hosts(path) == [Host("", 2), Host("me@node1", 4), Host("node2", 1)]
    assert [host.name for host in read_hosts(path)] == ["localhost", "node1", "node2"]
    for text, message in (
        ("node1:many", r"line 1: 'node1:many' is not \[user@\]host"),
        ("node1 4", "line 1"),
        ("-oProxyCommand=x", "line 1"),
        ("# none", "names no host"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_hosts(path)
    with pytest.raises(UsageError, match="cannot read host file"):
        read_hosts(tmp_path / "none")


def test_what_nodes_are_told_and_how_workers_share_the_cores(monkeypatch):
    monkeypatch.setenv("PORT", "80")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(threads, "chosen_here", True)
    monkeypatch.delenv("MXNET_ENGINE_TYPE", raising=False)
    nodes = cluster_nodes(["python", "train.py"], workers=3, servers=2, timeout=90)
    assert [m.name for m in nodes] == ["scheduler", "server 0", "server 1", "worker 0", "worker 1", "worker 2"]
    for m in nodes:
        assert m.environment["DMLC_ROLE"] == m.role == m.name.split()[0]
        assert "PORT" not in m.environment
        assert m.environment["DMLC_PS_ROOT_URI"] == m.environment["DMLC_NODE_HOST"] == "127.0.0.1"
        assert (m.environment["DMLC_NUM_WORKER"], m.environment["DMLC_NUM_SERVER"]) == ("3", "2")
    assert len({m.environment["DMLC_PS_ROOT_PORT"] for m in nodes}) == 1
    for rank, worker in enumerate(nodes[3:]):
        assert worker.command == ["python", "train.py"]
        told = {"MXNET_ENGINE_TYPE": "NaiveEngine", "GLUON_AFF_RANK": str(rank), "GLUON_AFF_TIMEOUT": "90"}
        assert {**told, "GLUON_AFF_WORKERS_HERE": "3"}.items() <= worker.environment.items()
        assert "OMP_NUM_THREADS" not in worker.environment  # gluon_aff's choice for the launcher is not the worker's
    monkeypatch.setattr(threads, "chosen_here", False)
    assert cluster_nodes(["x"], 1, 1)[2].environment["OMP_NUM_THREADS"] == "7"
    for workers, expected in (("2", "4"), ("3", "2"), ("100", "1")):
        monkeypatch.setattr(threads, "usable_cores", lambda: 8)
        monkeypatch.setenv("GLUON_AFF_WORKERS_HERE", workers)
        monkeypatch.delenv("OMP_NUM_THREADS")
        threads.use_physical_cores()
        assert os.environ["OMP_NUM_THREADS"] == expected


def test_machines_need_slots_and_an_address():
    hosts = [Host("localhost.localdomain.invalid", 2), Host("", 1)]
    with pytest.raises(UsageError, match="4 workers for 3 slots"):
        cluster_nodes(["x"], 4, 1, hosts)
    with pytest.raises(UsageError, match="is another machine: give this one's address"):
        cluster_nodes(["x"], 3, 1, hosts)
    with pytest.raises(GluonAFFError, match="check the name in the host file"):
        cluster_nodes(["x"], 3, 1, hosts, "127.0.0.1")
    with pytest.raises(GluonAFFError, match="is --address an address of this machine"):
        free_port("192.0.2.1")


def replace_ssh(monkeypatch, folder, program):
    folder.mkdir()
    (folder / "ssh").write_text(program)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    """A program called ssh that runs the command here, in an environment without anything, and notes its arguments."""
    replace_ssh(
        monkeypatch,
        tmp_path / "bin",
        f"#!{sys.executable}\nimport os, sys\n"
        f"open({str(tmp_path / 'ssh.txt')!r}, 'a').write(' '.join(sys.argv[1:-1]) + chr(10))\n"
        "os.chdir('/')\nos.execve('/bin/sh', ['sh', '-c', sys.argv[-1]], {})\n",
    )
    return tmp_path / "ssh.txt"


REMOTE = """
import os, sys
names = ["DMLC_ROLE", "DMLC_NODE_HOST", "GLUON_AFF_RANK", "MXNET_ENGINE_TYPE", "A_NAME", "SECRET"]
print(os.getcwd(), *[os.environ.get(name) for name in names], sys.argv[1:], sep="|")
"""


def test_over_ssh_directory_and_environment_go_along(tmp_path, fake_ssh, monkeypatch):
    monkeypatch.setenv("A_NAME", "it's a value")
    monkeypatch.setenv("SECRET", "stays")
    monkeypatch.delenv("MXNET_ENGINE_TYPE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Host, "address", lambda host: "127.0.0.1")
    command = [sys.executable, "-c", REMOTE, "an argument", "$HOME"]
    nodes = cluster_nodes(command, 2, 1, [Host("me@node1"), Host("node2")], "127.0.0.1", carry=["A_NAME"])
    workers = [m for m in nodes if m.role == "worker"]
    code, lines, _ = run(tmp_path, *workers)
    assert (code, lines) == (0, [])
    for rank in (0, 1):
        assert (tmp_path / "logs" / f"worker-{rank}.log").read_text().strip() == (
            f"---- log of worker {rank} ----\n"
            f"{tmp_path}|worker|127.0.0.1|{rank}|NaiveEngine|it's a value|None|['an argument', '$HOME']"
        )
    calls = sorted(fake_ssh.read_text().splitlines())
    assert [call.split()[-1] for call in calls] == ["me@node1", "node2"]
    assert all("BatchMode=yes" in call and "ServerAliveInterval=10" in call for call in calls)


def test_output_is_kept_for_each_and_shown_for_rank_0(tmp_path, capfd):
    hello = "import sys; print('hello from', sys.argv[1]); print('problem', file=sys.stderr)"
    workers = [node("worker", rank, hello, rank) for rank in (0, 1)]
    code, lines, seconds = run(tmp_path, node("server", 0, FOREVER), *workers)
    assert (code, lines) == (0, [])
    assert capfd.readouterr().out.splitlines().count("hello from 0") == 1
    kept = (tmp_path / "logs" / "worker-1.log").read_text().split("\n", 1)[1]
    assert sorted(kept.split()) == ["1", "from", "hello", "problem"]
    assert seconds < 20  # servers that do not end by themselves are ended


PRESENT = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(300)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PRESENT}"


@pytest.mark.parametrize(
    ("end", "code", "how"),
    [
        ("sys.exit(3)", 3, "exit code 3"),
        ("os.kill(os.getpid(), 9)", 137, "ended by SIGKILL"),
    ],
)
def test_one_that_dies_is_named_and_ends_all(tmp_path, end, code, how):
    pids = tmp_path / "pid"
    deaf = node("worker", 0, DEAF, pids)
    once_it_is = "import sys, os, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
    fails = node("worker", 1, once_it_is + end, pids)
    result, lines, seconds = run(tmp_path, node("scheduler", 0, FOREVER), deaf, fails)
    assert result == code
    assert lines[0] == f"worker 1 on localhost: {how}; its log: {tmp_path / 'logs' / 'worker-1.log'}"
    assert "ending the other 2 processes" in lines[-1]
    assert seconds < 30
    assert gone(int(wait_for(pids)))


def test_a_server_that_ends_before_the_workers_ends_all(tmp_path):
    code, lines, _ = run(tmp_path, node("server", 0, "pass"), node("worker", 0, FOREVER))
    assert code == 1
    assert lines[0].startswith("server 0 on localhost: exit code 0")


POLITE = """
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
open(sys.argv[1], "w").write("ready")
while not got or sys.argv[2] == "deaf":
    time.sleep(0.02)
time.sleep(0.3)
sys.exit(128 + got[0] + (len(got) > 1) * 100)
"""


def signal_when_ready(paths, numbers):
    def send():
        for path in paths:
            wait_for(path)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize(
    ("numbers", "how", "code", "told"),
    [
        ([signal.SIGINT], "polite", 130, []),
        ([signal.SIGTERM], "polite", 143, []),
        ([signal.SIGINT, signal.SIGINT], "deaf", 130, ["second signal: ending every process"]),
    ],
)
def test_a_signal_goes_on_to_the_workers_once_and_the_second_ends_all(tmp_path, numbers, how, code, told):
    ready = [tmp_path / "a", tmp_path / "b"]
    signal_when_ready(ready, numbers)
    nodes = [node("worker", rank, POLITE, path, how) for rank, path in enumerate(ready)]
    result, lines, seconds = run(tmp_path, node("server", 0, FOREVER), *nodes)
    assert (result, lines) == (code, told)
    assert seconds < 20


def test_one_that_does_not_stop_with_the_others_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "AFTER_STOP", 1.0)
    code, lines, _ = run(tmp_path, node("worker", 0, "import sys; sys.exit(143)"), node("worker", 1, FOREVER))
    assert code == 1
    assert lines == ["worker 1 did not stop within 1 s of the others: ended"]


CHILDREN = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", {FOREVER!r}])
open(sys.argv[1], "w").write(str(child.pid))
"""
LAUNCHER = f"""
import os, pathlib, sys
sys.argv[0] = "gluon-aff"  # MXNet is not needed here
from gluon_aff.launching import Host, Node, launch
command = [sys.executable, "-I", "-S", "-c", {PRESENT!r}, sys.argv[1]]
launch([Node("worker", 0, Host(), command, dict(os.environ))], pathlib.Path(sys.argv[2]), print)
"""


def test_a_worker_that_ends_and_a_launcher_that_is_killed_leave_nobody(tmp_path):
    pids = tmp_path / "child"
    assert run(tmp_path, node("worker", 0, CHILDREN, pids))[0] == 0
    assert gone(int(pids.read_text()))
    pids, root = tmp_path / "pid", Path(__file__).resolve().parents[2]
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(pids), str(tmp_path / "logs")], cwd=root)
    worker = int(wait_for(pids))
    launcher.kill()
    launcher.wait()
    assert gone(worker)


def test_a_supervisor_on_another_machine_ends_without_the_launcher(tmp_path, fake_ssh, monkeypatch):
    """As long as the launcher is heard, the worker runs; a connection that falls silent without an end is the end."""
    monkeypatch.setattr(launcher, "SILENCE", 2.0)
    monkeypatch.setattr(launcher, "BEAT", 0.2)
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(4)"]
    faraway = Node("worker", 0, Host("node1"), command, dict(os.environ))
    assert run(tmp_path, faraway)[:2] == (0, [])
    monkeypatch.setattr(launcher, "BEAT", 300.0)
    code, lines, seconds = run(tmp_path, faraway)
    assert (code, lines) == (128 + signal.SIGTERM, [])
    assert seconds < 4


def test_what_ssh_says_is_told(tmp_path, monkeypatch):
    replace_ssh(monkeypatch, tmp_path / "bin", "#!/bin/sh\necho Host key verification failed.\nexit 255\n")
    code, lines, _ = run(tmp_path, Node("worker", 0, Host("me@node1"), ["true"], {}))
    assert code == 255
    assert lines[0] == (
        "worker 0 on node1: ssh failed or lost the connection (Host key verification failed.); its log: "
        f"{tmp_path / 'logs' / 'worker-0.log'}"
    )


def test_a_program_that_is_not_there_and_wrong_calls(tmp_path, capsys):
    broken = Node("worker", 0, Host(), [str(tmp_path / "nothing")], dict(os.environ))
    code, lines, _ = run(tmp_path, broken)
    assert code == 127
    assert "exit code 127" in lines[0]
    assert "cannot run" in (tmp_path / "logs" / "worker-0.log").read_text()
    args = build_parser().parse_args(["launch", "-n", "4", "-s", "2", "--", "python", "train.py", "-j", "3"])
    assert (args.workers, args.servers, args.command_line) == (4, 2, ["--", "python", "train.py", "-j", "3"])
    with pytest.raises(UsageError, match="nothing to launch"):
        args = build_parser().parse_args(["launch", "-n", "2"])
        args.run(args)
    with pytest.raises(SystemExit):
        build_parser().parse_args(["launch", "-n", "0", "--", "x"])
