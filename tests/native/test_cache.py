"""Building the operator: once, checked, remembered when it fails, and never in the way of who has no compiler."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_aff.cli import doctor
from gluon_aff.cli import main as cli
from gluon_aff.errors import GluonAFFError
from gluon_aff.nn import native
from gluon_aff.nn.attending import form
from gluon_aff.nn.native import building, cache, loading

ROOT = Path(__file__).resolve().parents[2]
USE = """
import gluon_aff, mxnet as mx
from gluon_aff.nn.attending import form
block = gluon_aff.create_fusion("aff", 8)
block.initialize()
print("before", form.identity)
print("sum", float(block(mx.nd.ones((2, 8, 4, 4)), mx.nd.ones((2, 8, 4, 4))).sum().asscalar()))
print("after", form.identity)
"""


def use(cache_home, **variables):
    """What a process of its own prints that uses a fusion."""
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache_home), **variables}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, timeout=300)
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
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(form, "identity", None)
    finding = doctor._native()
    assert (finding.state, finding.remedy) == ("note", "apt-get install g++")
    with pytest.raises(GluonAFFError, match="no C\\+\\+ compiler"):
        native.build()
    assert cli.main(["native", "status"]) == 0
    assert "none found" in capsys.readouterr().out


def test_it_is_built_on_first_use_and_loaded_from_then_on(own_cache, quick_compiler):
    home = {"PATH": "/usr/bin:/bin", "CXX": os.environ["CXX"]}
    first, errors = use(own_cache, **home)
    assert first["before"] == "None" and first["after"] != "None"
    assert errors.count("building the native operator") == 1
    second, errors = use(own_cache, **home)
    assert second["before"] == second["after"] == first["after"]
    assert errors == ""
    assert float(first["sum"]) == pytest.approx(512)
    switched_off, errors = use(own_cache, GLUON_AFF_NATIVE="0", **home)
    assert switched_off == {"before": "None", "sum": "512.0", "after": "None"}
    assert quick_compiler.read_text().splitlines() == ["call"]


def test_processes_that_build_at_once_build_once(own_cache, quick_compiler):
    command = [sys.executable, "-c", "from gluon_aff.nn import native; print(native.build().library)"]
    environment = {**os.environ, "GLUON_AFF_NATIVE": "0"}
    processes = [
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    libraries = {process.communicate(timeout=300)[0] for process in processes}
    assert len(libraries) == 1 and libraries.pop().strip().endswith(".so")
    assert quick_compiler.read_text().splitlines() == ["call"]
    left = {path.name.split("-")[0] for path in cache.folder().iterdir()}
    assert left == {"lock", "operator.json", "attend"}


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
    assert cache.entry().state == native.State.FAILED
    monkeypatch.setattr(form, "identity", None)
    assert "no such thing" in doctor._native().found


def test_a_library_that_does_not_work_is_not_kept(own_cache, tmp_path, monkeypatch):
    text = 'for argument; do [ "$before" = -o ] && target=$argument; before=$argument; done; echo text > "$target"'
    monkeypatch.setenv("CXX", str(program(tmp_path / "liar", text)))
    with pytest.raises(GluonAFFError, match="was built and does not work"):
        native.build()
    assert cache.entry().state == native.State.FAILED


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: next(folder.glob("*.so")).write_bytes(b"half"),
        lambda folder: next(folder.glob("*.so")).unlink(),
        lambda folder: (folder / "operator.json").write_text("{"),
        lambda folder: (folder / "operator.json").write_text('{"library": 3}'),
    ],
    ids=["another file", "no library", "half a record", "a record of something else"],
)
def test_a_damaged_cache_is_seen_and_not_loaded(filled_cache, damage, monkeypatch):
    assert cache.entry().state == native.State.BUILT
    damage(filled_cache)
    assert cache.entry().state == native.State.DAMAGED
    monkeypatch.setattr(form, "identity", None)
    monkeypatch.setattr(loading, "load", None)  # would fail
    loading.install()
    assert form.identity is None
    assert doctor._native().state == "note"


def test_clean_removes_it(filled_cache, capsys):
    assert cli.main(["native", "clean"]) == 0
    assert capsys.readouterr().out == "removed 1 built operator(s)\n"
    assert cache.entry().state == native.State.NONE


def test_a_cache_that_cannot_be_written_is_one_line(own_cache):
    own_cache.write_text("a file")
    with pytest.raises(GluonAFFError, match=str(own_cache)):
        native.build()
    assert cache.entry().state in (native.State.NONE, native.State.DAMAGED)


def test_the_identity_depends_on_what_bits_depend_on(built):
    record = json.loads((built.folder / "operator.json").read_text())
    assert record["identity"] == built.identity
    assert cache.source_digest() in built.identity and cache.processor() in built.identity
    assert building._identity("g++ 12", ["-O3"]) != building._identity("g++ 13", ["-O3"])
