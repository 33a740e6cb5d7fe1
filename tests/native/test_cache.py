"""Building the operator: once, checked, remembered when it fails, and never in the way of who has no compiler."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gluon_aff.cli import doctor
from gluon_aff.cli import main as cli
from gluon_aff.errors import GluonAFFError
from gluon_aff.nn import native
from gluon_aff.nn.native import building, loading

ROOT = Path(__file__).resolve().parents[2]
USE = """
import gluon_aff, mxnet as mx
from gluon_aff.nn import native
block = gluon_aff.create_fusion("aff", 8)
block.initialize()
print("before", native.identity)
print("sum", float(block(mx.nd.ones((2, 8, 4, 4)), mx.nd.ones((2, 8, 4, 4))).sum().asscalar()))
print("after", native.identity)
"""


def use(cache_home, limit="unlimited", **variables):
    """What a process of its own prints that uses a fusion, and may write files of ``limit`` blocks."""
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache_home), **variables}
    command = ["/bin/sh", "-c", f'ulimit -S -f {limit}; exec "$0" -c "$1"', sys.executable, USE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines()), done.stderr


def program(path, text):
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def quick_compiler(built, tmp_path, monkeypatch):
    """A compiler that notes that it was called and copies the library that the tests have."""
    calls = tmp_path / "calls"
    script = f"""
[ "$1" = --version ] && echo quick compiler && exit
echo call >> {calls}
for argument; do [ "$before" = -o ] && target=$argument; before=$argument; done
sleep 1
cp {built.library} "$target"
"""
    monkeypatch.setenv("CXX", str(program(tmp_path / "quick", script)))
    return calls


def test_without_a_compiler_fusions_work_and_doctor_says_so(own_cache, tmp_path, monkeypatch, capsys):
    found, errors = use(own_cache, PATH=str(tmp_path))
    assert found == {"before": "None", "sum": "512.0", "after": "None"}
    assert errors == ""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(native, "identity", None)
    finding = doctor._native()
    assert (finding.state, finding.remedy) == ("note", "apt-get install g++")
    with pytest.raises(GluonAFFError, match="no C\\+\\+ compiler"):
        native.build()
    assert cli.main(["native", "status"]) == 0
    assert "none found" in capsys.readouterr().out


def test_it_is_built_once_by_processes_at_once_and_loaded_from_then_on(own_cache, quick_compiler):
    home = {"PATH": "/usr/bin:/bin", "CXX": os.environ["CXX"]}
    with ThreadPoolExecutor() as pool:
        firsts = list(pool.map(lambda _: use(own_cache, **home), range(2)))
    assert quick_compiler.read_text().splitlines() == ["call"]
    assert {path.name.split("-")[0] for path in building.folder().iterdir()} == {"lock", "operator.json", "attend"}
    second, errors = use(own_cache, **home)
    assert second["before"] == second["after"] != "None" and errors == ""
    assert sum(errors.count("building the native operator") for _, errors in firsts) in (1, 2)
    for first, _ in firsts:
        assert first["after"] == second["after"] and float(first["sum"]) == pytest.approx(512)
    switched_off, errors = use(own_cache, GLUON_AFF_NATIVE="0", **home)
    assert switched_off == {"before": "None", "sum": "512.0", "after": "None"} and errors == ""
    assert quick_compiler.read_text().splitlines() == ["call"]


def test_a_compiler_that_fails_is_not_asked_again(own_cache, tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    text = f"echo call >> {calls}; echo 'attend.cc:3: error: no such thing' >&2; exit 1"
    home = {"PATH": "/usr/bin:/bin", "CXX": str(program(tmp_path / "broken", text))}
    found, errors = use(own_cache, **home)
    assert found["after"] == "None"
    assert "note: " in errors and "error: no such thing" in errors
    count = len(calls.read_text().splitlines())
    assert use(own_cache, **home)[1] == ""
    assert len(calls.read_text().splitlines()) == count
    assert native.entry().state == native.State.FAILED
    monkeypatch.setattr(native, "identity", None)
    assert "no such thing" in doctor._native().found


NO_LIBRARY = 'for argument; do [ "$before" = -o ] && target=$argument; before=$argument; done; echo text > "$target"'
WRONG_SUMS = """
mkdir -p {folder}/changed && cp {source}/* {folder}/changed
sed -i 's/norm.eps = std::stod/norm.eps = 1e5 * std::stod/' {folder}/changed/attend.cc
cd {folder}/changed && exec {compiler} "$@" -O0
"""


@pytest.mark.parametrize(
    "script, said",
    [(NO_LIBRARY, "was built and does not work"), (WRONG_SUMS, "does not work: results differ by")],
    ids=["no library", "wrong sums"],
)
def test_a_library_that_does_not_work_is_not_kept(own_cache, tmp_path, monkeypatch, script, said):
    if script is WRONG_SUMS:  # the norms' epsilon larger than it is written
        script = script.format(folder=tmp_path, source=building.SOURCE, compiler=native.compiler())
    monkeypatch.setenv("CXX", str(program(tmp_path / "compiler", script)))
    with pytest.raises(GluonAFFError, match=said):
        native.build()
    assert native.entry().state == native.State.FAILED and not list(building.folder().glob("*.so"))


def in_its_place(path, make):
    path.unlink()
    make(path)


def named_in_the_record(folder, name):
    record = json.loads((folder / "operator.json").read_text())
    (folder / "operator.json").write_text(json.dumps({**record, "library": name}))


def record_with_a_path(folder):
    moved = folder.parent / "planted.so"
    next(folder.glob("*.so")).rename(moved)
    named_in_the_record(folder, str(moved))


def record_with_a_link(folder):
    library = next(folder.glob("*.so"))
    library.rename(folder.parent / "planted.so")
    library.symlink_to(folder.parent / "planted.so")


def linked_folder(folder):
    folder.rename(folder.parent / "planted")
    folder.symlink_to(folder.parent / "planted")


DAMAGE = {
    "another file": lambda folder: next(folder.glob("*.so")).write_bytes(b"half"),
    "no library": lambda folder: next(folder.glob("*.so")).unlink(),
    "half a record": lambda folder: (folder / "operator.json").write_text("{"),
    "a record of something else": lambda folder: (folder / "operator.json").write_text('{"library": 3}'),
    "a list": lambda folder: (folder / "operator.json").write_text("[]"),
    "a deep record": lambda folder: (folder / "operator.json").write_text("[" * 100_000),
    "a library elsewhere": record_with_a_path,
    "a library above": lambda folder: named_in_the_record(folder, f"../{folder.name}/{next(folder.glob('*.so')).name}"),
    "a link for a library": record_with_a_link,
    "a library others may write to": lambda folder: next(folder.glob("*.so")).chmod(0o777),
    "a record others may write to": lambda folder: (folder / "operator.json").chmod(0o666),
    "a folder others may write to": lambda folder: folder.chmod(0o777),
    "a folder its group may write to": lambda folder: folder.chmod(0o775),
    "a folder above others may write to": lambda folder: folder.parents[2].chmod(0o777),
    "a link for a folder": linked_folder,
    "a pipe for a record": lambda folder: in_its_place(folder / "operator.json", os.mkfifo),
    "pipes for all": lambda folder: [in_its_place(path, os.mkfifo) for path in folder.iterdir()],
    "a pipe for a library": lambda folder: in_its_place(next(folder.glob("*.so")), os.mkfifo),
}
if os.geteuid() == 0:
    DAMAGE["another user's folder"] = lambda folder: os.chown(folder, 1, 1)
    DAMAGE["another user's library"] = lambda folder: os.chown(next(folder.glob("*.so")), 1, 1)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_was_not_built_here_is_not_loaded_and_built_anew(filled_cache, damage, monkeypatch, built):
    assert native.entry().state == native.State.BUILT
    damage(filled_cache)
    assert native.entry().state in (native.State.DAMAGED, native.State.NONE)
    monkeypatch.setattr(native, "identity", None)
    monkeypatch.setattr(loading, "load", None)  # would fail
    loading.install()
    assert native.identity is None
    assert doctor._native().state == "note"

    def compiled(compiler, folder):
        shutil.copy(built.library, folder / "attend.so")
        return folder / "attend.so", []

    monkeypatch.setattr(building, "_compile", compiled)
    monkeypatch.setattr(building, "_try", lambda library: 1.5)
    entry = native.build()
    assert entry == native.entry() and entry.state == native.State.BUILT
    assert entry.library.read_bytes() == built.library.read_bytes()
    assert entry.library.parent == entry.folder and entry.folder.resolve() == entry.folder
    assert not (entry.folder.stat().st_mode | entry.library.stat().st_mode) & 0o022
    if entry.folder != filled_cache:  # the place is somebody else's: one of the user's own
        assert Path(tempfile.gettempdir()) in entry.folder.parents


def test_nowhere_private_there_is_no_operator(filled_cache, own_cache, tmp_path):
    tmp_path.chmod(0o777)
    found, errors = use(own_cache, PATH="/usr/bin:/bin", TMPDIR=os.environ["TMPDIR"])
    assert found["after"] == "None" and "other users may write to" in errors


def test_a_disk_that_is_too_small_is_not_compiled_for(own_cache, tmp_path, quick_compiler):
    """The limit on the size of files stands for it: a quota, and a disk, answer alike."""
    home = {"PATH": "/usr/bin:/bin", "CXX": os.environ["CXX"], "TMPDIR": os.environ["TMPDIR"]}
    found, errors = use(own_cache, limit=190, **home)
    assert found["after"] == "None" and errors.count("note: the native operator cannot be kept in") == 1
    assert use(own_cache, limit=190, **home)[1] == ""
    assert not quick_compiler.exists()
    assert "File too large" in native.entry().detail


def test_clean_removes_it_and_nothing_foreign_and_follows_no_link(filled_cache, own_cache, tmp_path, capsys):
    foreign, native_folder = tmp_path / "foreign", filled_cache.parent
    kept = []
    for folder in (foreign / filled_cache.name, native_folder / "mine", filled_cache / "notes"):
        folder.mkdir(parents=True)
        kept.append(folder / "operator.json")
    kept += [filled_cache / "attend-mine.so", native_folder / "a.txt", foreign / filled_cache.name / "lock"]
    for path in kept:
        path.write_text("the user's")
    link = native_folder / filled_cache.name.replace(".", "_")
    link.symlink_to(foreign / filled_cache.name)
    assert cli.main(["native", "clean"]) == 0
    assert capsys.readouterr().out == "removed 2 built operator(s)\n"
    assert native.entry().state == native.State.NONE
    assert not link.is_symlink() and not list(filled_cache.glob("attend-?[0-9a-f]*.so")) + [
        p for p in kept if not p.exists()
    ]
    shutil.rmtree(native_folder)
    native_folder.symlink_to(foreign)
    native.clean()
    assert not native_folder.is_symlink() and (foreign / filled_cache.name / "lock").exists()


def test_one_that_was_slower_is_used_only_by_runs_that_began_with_it(filled_cache, monkeypatch, capsys):
    record = json.loads((filled_cache / "operator.json").read_text())
    assert record["speed"] > 0
    (filled_cache / "operator.json").write_text(json.dumps({**record, "speed": 0.9}))
    loaded = []
    monkeypatch.setattr(loading, "load", loaded.append)
    monkeypatch.setattr(native, "enabled", True)
    monkeypatch.setattr(native, "identity", None)
    loading.install()
    assert native.active() is None and native.in_words().endswith("(the native one has 0.9 of their speed)")
    assert native.active("another") is None and not loaded
    cli.main(["native", "status"])
    assert "0.9 times" in capsys.readouterr().out and "0.9 times" in doctor._native().found
    assert native.active(record["identity"]) == record["identity"] and len(loaded) == 1


def test_a_cache_that_cannot_be_written_is_one_line(own_cache):
    own_cache.write_text("a file")
    with pytest.raises(GluonAFFError, match=str(own_cache)):
        native.build()
    assert native.entry().state in (native.State.NONE, native.State.DAMAGED)


def test_the_identity_depends_on_what_bits_depend_on(built):
    record = json.loads((built.folder / "operator.json").read_text())
    assert record["identity"] == built.identity
    assert building.source_digest() in built.identity and building.processor() in built.identity
    assert building._identity("g++ 12", ["-O3"]) != building._identity("g++ 13", ["-O3"])
