"""What an export replaces: an exported network alone, never anything else; one of the two is whole at any time."""

import contextlib
import json
import os
import resource
import shutil
import signal

import golden
import pytest

import gluon_aff
from gluon_aff import deploy
from gluon_aff.cli.main import main
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.deploy import exporting
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console, files

FILES = ["manifest.json", "model-0000.params", "model-symbol.json"]
OPTIONS = ["--model", "cifar_resnet8", "--channel-times", "1", "--classes", "3"]


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
    with pytest.raises(UsageError, match="or `overwrite`"):
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


def test_what_appears_meanwhile_is_kept(net, out, monkeypatch):
    compare = exporting.compare

    def late(*arguments):
        put(out, "thesis.txt", "years")
        return compare(*arguments)

    monkeypatch.setattr(exporting, "compare", late)
    with pytest.raises(UsageError, match="thesis.txt"):
        export(net, out, overwrite=True)
    assert names(out) == [*FILES, "thesis.txt"] and names(out.parent) == ["out"]


def test_a_failed_move_leaves_the_old_one(net, out, monkeypatch):
    rename, before = os.rename, content(out)

    def full(source, target):
        if str(source).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(exporting.os, "rename", full)
    with pytest.raises(GluonAFFError, match="No space left"):
        export(net, out, fold=True, overwrite=True)
    assert content(out) == before and names(out.parent) == ["out"]


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 4 kB, as in tests/faults; MXNet writes symbol and arrays itself."""
    signals, (soft, hard) = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, signals)


def test_a_full_disk_ends_in_one_line_and_keeps_the_old_one(net, out, tmp_path, capsys):
    net.save_parameters(str(tmp_path / "w.params"))
    before = content(out)
    words = ["export", str(tmp_path / "w.params"), *OPTIONS, "--out", str(out), "--overwrite", "--to"]
    for form in ("symbol", "int8"):
        with full_disk():
            assert console.run(main, [*words, form]) == 1
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(told) == 1 and "cannot write" in told[0]
        assert content(out) == before and names(out.parent) == ["out"]
    put(out, "thesis.txt", "years")
    assert console.run(main, [*words, "symbol"]) == 2
    told = capsys.readouterr().err
    assert "thesis.txt" in told and "which --overwrite would remove" in told
    assert (out / "thesis.txt").read_text() == "years"


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
