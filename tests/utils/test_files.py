"""Outputs are whole or absent, and what is not a regular file stays what it is."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading

import pytest
from script_runs import ROOT, in_a_process

from gluon_aff.errors import GluonAFFError
from gluon_aff.utils.files import atomic_write, last_name, make_next, next_name, remove_leftovers, temporary_name


def write(path, text="new"):
    with atomic_write(path) as handle:
        handle.write(text)


def test_a_file_is_replaced_and_its_directory_made_or_stays_when_that_fails(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write(path, "old")
    path.chmod(0o600)
    write(path)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ZeroDivisionError), atomic_write(path) as handle:
        handle.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False], ids=["file", "nothing"])
def test_a_link_stays_and_its_target_is_written(tmp_path, there):
    target, link = tmp_path / "elsewhere" / "target.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to("elsewhere/target.txt")
    write(link)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_links_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(GluonAFFError, match="cannot write .*a: Too many levels of symbolic links"):
        write(tmp_path / "a")


def test_a_device_is_written_to(tmp_path):
    before = os.stat("/dev/null")
    write("/dev/null")
    (tmp_path / "null").symlink_to("/dev/null")
    write(tmp_path / "null")
    assert os.path.samestat(before, os.stat("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(GluonAFFError, match="cannot write /dev/full: No space left on device"):
        write("/dev/full")


def test_a_pipe_is_written_to(tmp_path):
    path, found = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_text()))
    reader.start()
    write(path)
    reader.join(timeout=10)
    assert found == ["new"]
    assert stat.S_ISFIFO(path.stat().st_mode)


STDOUT = """
from gluon_aff.utils.files import atomic_write
for name in ("/dev/stdout", "/dev/fd/1"):
    print("before")
    with atomic_write(name) as handle:
        handle.write("between\\n")
print("after")
"""


def test_standard_output_that_is_a_file_keeps_its_order(tmp_path):
    out = tmp_path / "out.txt"
    with open(out, "w") as handle:
        subprocess.run([sys.executable, "-c", STDOUT], stdout=handle, check=True, cwd=ROOT, timeout=120)
    assert out.read_text() == 2 * "before\nbetween\n" + "after\n"


@pytest.mark.parametrize("name", ["", ".", "directory", "file/below"])
def test_what_cannot_be_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(GluonAFFError, match="cannot write"):
        write(name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["directory", "file"]


def test_the_longest_name_is_written_and_a_longer_one_is_an_error(tmp_path):
    write(tmp_path / ("é" * 127))
    assert [len(path.name) for path in tmp_path.iterdir()] == [127]
    with pytest.raises(GluonAFFError, match="File name too long"):
        write(tmp_path / ("a" * 300))


def test_a_write_protected_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old")
    path.chmod(0o444)
    if os.geteuid() == 0:  # root may write anything: let the question be answered as for others
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(GluonAFFError, match="write-protected"):
        write(path)
    assert path.read_text() == "old"


def test_a_limit_on_file_sizes_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write(path, "old")
    limits, action = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(GluonAFFError, match="cannot write .*: File too large"):
            write(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, action)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_are_no_text_are_kept(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    write(path, str(path))
    assert path.read_bytes() == os.fsencode(path)


KILLED = """
import os, signal, sys
from gluon_aff.utils.files import atomic_write
with atomic_write(sys.argv[1]) as handle:
    handle.write("half")
    handle.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_process_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "file.txt"
    assert in_a_process(KILLED, path).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    write(path)  # the first write to a directory looks for leftovers
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_are_only_our_own_of_dead_processes(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = temporary_name(tmp_path / "file.txt").name.replace(f"-{os.getpid()}.", "-{}.")
    host = os.uname().nodename
    kept = {
        temporary_name(tmp_path / "file.txt").name,  # of this process
        ours.format(1),  # of one that is alive
        f".file.txt.other_machine-{dead.pid}.tmp",
        ".file.txt.swp",
        f"file.{dead.pid}.tmp",
        f"file.txt.{host}.tmp",
    }
    for name in {*kept, ours.format(dead.pid)}:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
    remove_leftovers(tmp_path / "missing")


def test_numbered_folders_follow_the_last_one(tmp_path):
    first = tmp_path / "runs" / "a-0"
    assert (last_name(first), next_name(first)) == (first, first)
    assert [make_next(first).name for _ in range(3)] == ["a-0", "a-0-2", "a-0-3"]
    (tmp_path / "runs" / "a-0-2").rmdir()
    for other in ("a-0-x", "a-0-07", "b-a-0-9", "a-1"):
        (tmp_path / "runs" / other).mkdir()
    assert last_name(first).name == "a-0-3" and make_next(first).name == "a-0-4"
    (tmp_path / "file").touch()
    with pytest.raises(GluonAFFError, match="cannot write .*file/a"):
        make_next(tmp_path / "file" / "a")
