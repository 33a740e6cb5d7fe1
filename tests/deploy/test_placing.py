"""What an export replaces: an exported network alone, never anything else; one of the two is whole at any time."""

import json
import os
import shutil
import signal
import subprocess
import sys

import golden
import pytest

import gluon_aff
from gluon_aff import deploy
from gluon_aff.cli.main import main
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.deploy import placing
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console, files

FILES = ["manifest.json", "model-0000.params", "model-symbol.json"]


@pytest.fixture(scope="module")
def net():
    net = gluon_aff.create_model("cifar_resnet8", channel_times=1, classes=3)
    golden.fill(net, gain=1)
    return net


@pytest.fixture(scope="module")
def exported(net, tmp_path_factory):
    place = tmp_path_factory.mktemp("made") / "out"
    export(net, place)
    return place


@pytest.fixture
def out(exported, tmp_path):
    """An exported network that is not folded; what replaces it in these tests is."""
    return shutil.copytree(exported, tmp_path / "there/out")


def export(net, place, **options):
    return deploy.export(net, place, input=NetworkInput(32), **options)


def folded(place):
    return deploy.open_exported(place).manifest["folding"] is not None


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(os.listdir(folder))


def test_only_an_exported_network_is_replaced_and_only_if_asked(net, out):
    with pytest.raises(UsageError, match="or --overwrite"):
        export(net, out)
    assert not folded(out)
    export(net, out, fold=True, overwrite=True)
    assert folded(out) and names(out) == FILES and names(out.parent) == ["out"]


def put(folder, name, text):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def forge(folder, change):
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    (folder / "manifest.json").write_text(json.dumps(document))


def list_another(folder):
    put(folder, "thesis.txt", "years")
    forge(
        folder,
        lambda m: m["files"].update({"thesis.txt": {"bytes": 5, "sha256": files.sha256_of(folder / "thesis.txt")}}),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "is no exported network"),
        (lambda folder: put(folder, "manifest.json", '{"name": "a web application"}'), "no manifest|of format None"),
        (lambda folder: put(folder, "manifest.json", "not JSON"), "holds no exported network that is whole"),
        (lambda folder: put(folder, "thesis.txt", "years"), r"more than an exported network \(thesis.txt\)"),
        (lambda folder: put(folder, "notes/a.txt", "b"), r"more than an exported network \(notes\)"),
        (lambda folder: [put(folder, f"{n}.txt", "b") for n in range(5)], r"\(0.txt, 1.txt, 2.txt and 2 more\)"),
        (list_another, r"more than an exported network \(thesis.txt\)"),
        (lambda folder: put(folder, "model-0000.params", "changed"), "is not what manifest.json lists"),
        (lambda folder: forge(folder, lambda m: m.update(format=7)), "of format 7"),
    ],
)
def test_what_is_not_replaced(net, out, change, message):
    change(out)
    before = content(out)
    with pytest.raises(UsageError, match=message):
        export(net, out, overwrite=True)
    assert content(out) == before and names(out.parent) == ["out"]


def test_the_command_refuses_with_code_2(net, out, tmp_path, capsys):
    net.save_parameters(str(tmp_path / "w.params"))
    put(out, "thesis.txt", "years")
    words = ["export", str(tmp_path / "w.params"), "--model", "cifar_resnet8", "--channel-times", "1", "--classes", "3"]
    assert console.run(main, [*words, "--to", "symbol", "--out", str(out), "--overwrite"]) == 2
    assert "thesis.txt" in capsys.readouterr().err and (out / "thesis.txt").read_text() == "years"


def test_what_appears_meanwhile_is_kept(net, out, monkeypatch):
    compare = deploy.exporting.compare

    def late(*arguments):
        put(out, "thesis.txt", "years")
        return compare(*arguments)

    monkeypatch.setattr(deploy.exporting, "compare", late)
    with pytest.raises(UsageError, match="thesis.txt"):
        export(net, out, overwrite=True)
    assert names(out) == [*FILES, "thesis.txt"] and names(out.parent) == ["out"]


def test_a_failed_move_leaves_the_old_one(net, out, monkeypatch):
    rename, before = os.rename, content(out)

    def full(source, target):
        if str(source).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(placing.os, "rename", full)
    with pytest.raises(GluonAFFError, match="No space left"):
        export(net, out, fold=True, overwrite=True)
    assert content(out) == before and names(out.parent) == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from gluon_aff.deploy import placing

place, last = Path(sys.argv[1]), int(sys.argv[2])
made = placing.name_aside(place)
os.rename(sys.argv[3], made)
rename, calls = os.rename, []

def killed(source, target):
    if len(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(source)
    rename(source, target)

placing.os.rename = killed
placing._remove = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
placing.put_in_place(made, place, True)
"""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_leaves_one_whole_and_the_next_export_tidies(net, out, tmp_path, renames):
    export(net, tmp_path / "new", fold=True)
    words = [sys.executable, "-c", KILLED, str(out), str(renames), str(tmp_path / "new")]
    assert subprocess.run(words, timeout=600).returncode == -signal.SIGKILL
    assert out.exists() == (renames != 1) and len(names(out.parent)) == 2
    whole = [place for place in out.parent.iterdir() if names(place) == FILES]
    assert len(whole) == 2  # the old one and the new one
    with pytest.raises(UsageError, match="or --overwrite"):
        export(net, out)
    assert folded(out) == (renames == 2) and names(out.parent) == ["out"]  # the old one is back, or gone
    export(net, out, fold=True, overwrite=True)
    assert folded(out) and names(out.parent) == ["out"]


def test_a_living_process_is_left_alone(net, out, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        monkeypatch.setattr(files.os, "getpid", lambda: other.pid)
        aside = [files.temporary_name(out, ending) for ending in ("old", "tmp")]
        monkeypatch.undo()
        for place in aside:
            shutil.copytree(out, place)
        export(net, out, overwrite=True)
        assert all(names(place) == FILES for place in aside)
        other.communicate(b"\n")


def test_a_symbolic_link_stays(net, out, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(out, target_is_directory=True)
    export(net, link, fold=True, overwrite=True)
    assert link.is_symlink() and folded(out) and names(out.parent) == ["out"]
    (tmp_path / "later").symlink_to(tmp_path / "there/made", target_is_directory=True)
    export(net, tmp_path / "later")
    assert names(tmp_path / "there/made") == FILES
    put(tmp_path, "elsewhere/thesis.txt", "years")
    (out / "notes").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(UsageError, match="notes"):
        export(net, link, overwrite=True)
    assert (tmp_path / "elsewhere/thesis.txt").exists()
