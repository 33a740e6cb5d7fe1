"""Full disks, limited files, places that cannot be written, and two processes in one place."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import test_kills as kills
from script_runs import load_script

from gluon_aff.utils import console

SECONDS = 120


def limit(size):
    """What a process calls before it begins: no file may grow beyond ``size`` bytes."""

    def set_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return set_limit


def run(command, cwd, home, **more):
    more.update(cwd=cwd, env=kills.environment(home), timeout=SECONDS)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
    return done


def one_line(done, *words):
    """It failed with one line that has one of the words."""
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and any(word in told[0] for word in words), done.stderr
    return "refused"


def gluon(*words):
    return [sys.executable, "-m", "gluon_aff", *words]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, an ablation's place and images, and the figures that the run ends with."""
    folder = tmp_path_factory.mktemp("made")
    command, result = kills.trained()
    here = os.getcwd()
    os.chdir(folder)
    assert console.run(load_script("train_cifar").main, command(folder)[2:]) == 0
    os.chdir(here)
    kills.write_images(folder / "given" / "images", 20)
    return folder, result(folder)


def outputs(folder):
    """Commands that write, each into ``out``, which is its last word or in it."""
    images, best = folder / "given" / "images", folder / "run" / "best" / "model.params"
    weights = ["--weights", folder / "run", "--gpus", ""]
    return {
        "evaluate --out": gluon("evaluate", *weights, "--out", "out"),
        "evaluate --json": gluon("evaluate", *weights, "--json", "out/a.json"),
        "convert": gluon("published", "convert", best, "--to", "npz", "-o", "out/a.npz"),
        "plot": gluon("plot", "history", folder / "run", "--out", "out/a.png"),
        "compare": gluon("compare", folder / "run", "--with", folder / "run", "--plot", "out/a.png"),
        "gradcam": gluon("gradcam", *weights, "--images", images / "test", "--out", "out"),
        "attention": gluon("attention", *weights, "--images", images / "test", "--out", "out"),
        "records": gluon("records", "make", images, "out/a.rec", "--split", "train"),
        "training": [*kills.trained()[0](Path("/nowhere")), "--save-dir", "out/run"],
    }


NAMES = list(outputs(Path("x")))


@contextlib.contextmanager
def mounted(place, option):
    """A file system in memory, where one may be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("no file system may be mounted here: the limit on file sizes stands for a full disk")
    yield
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "size=256k"):
        yield tmp_path / "disk"


def fill(path):
    """Leave nothing on a disk."""
    with open(path, "wb", buffering=0) as handle, contextlib.suppress(OSError):
        while True:
            handle.write(bytes(4096))


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(made, disk, counted, name):
    folder, _ = made
    (disk / "out").mkdir()
    (disk / "out" / "mine").write_text("mine")
    fill(disk / "full")
    done = run(outputs(folder)[name], disk, folder)
    counted("full disks", one_line(done, "No space left", "free on its disk"))
    assert (disk / "out" / "mine").read_text() == "mine"
    assert not kills.leftovers(disk)


def sample(one, *cases):
    """All cases, of which one is tried by default."""
    return [pytest.param(*case, marks=[] if case == one else pytest.mark.faults) for case in cases]


@pytest.mark.parametrize(
    ("name", "size"), sample(("convert", 700), *((name, size) for name in NAMES for size in (0, 700)))
)
def test_a_limit_on_file_sizes(made, tmp_path, counted, name, size):
    folder, _ = made
    (tmp_path / "out").mkdir()
    done = run(outputs(folder)[name], tmp_path, folder, preexec_fn=limit(size))
    counted("limits on file sizes", one_line(done, "File too large", "incomplete", "temporary directory"))
    assert not kills.leftovers(tmp_path)


@pytest.fixture
def read_only(tmp_path):
    out = tmp_path / "disk" / "out"
    if not os.getuid():  # root may write to any folder
        with mounted(out, "ro"):
            yield out.parent
        return
    out.mkdir(parents=True)
    out.chmod(0o500)
    yield out.parent
    out.chmod(0o700)


@pytest.mark.parametrize("name", sample(("plot",), *((name,) for name in NAMES)))
def test_a_place_that_cannot_be_written(made, read_only, counted, name):
    folder, _ = made
    done = run(outputs(folder)[name], read_only, folder)
    counted("places that cannot be written", one_line(done, "Read-only", "Permission denied", "cannot write"))
    assert not list((read_only / "out").iterdir())


@pytest.mark.faults
def test_a_run_on_a_disk_that_fills_up_goes_on_when_there_is_room(made, disk, counted):
    """The disk takes a few checkpoints' files; what was kept is taken up again, and ends as ever."""
    folder, expected = made
    command, result = kills.trained()
    fill(disk / "full")
    room = 60
    while room < 250:
        os.truncate(disk / "full", max(0, os.path.getsize(disk / "full") - room * 1024))
        done = run(command(disk), disk, folder)
        if done.returncode == 0:
            break
        counted("full disks", one_line(done, "No space left", "free on its disk"))
        fill(disk / "again")
        room += 60
    else:
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        (disk / "full").unlink()
        (disk / "again").unlink()
        assert run(command(disk), disk, folder).returncode == 0
    assert result(disk) == expected


@pytest.mark.faults
@pytest.mark.parametrize(
    "make", [kills.record_building, kills.cache_building, kills.downloading], ids=lambda make: make.__name__
)
def test_two_at_once(tmp_path, counted, make):
    """Both end well or one says that the place is taken, and what is there is whole."""
    (tmp_path / "given").mkdir()
    work = make(tmp_path / "given")
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    work.finish(tmp_path / "alone")
    codes = at_once(work.command(tmp_path / "shared"), tmp_path / "shared")
    assert 0 in codes and set(codes) <= {0, 1, 2}
    assert work.result(tmp_path / "shared") == work.result(tmp_path / "alone")
    counted("two at once", " and ".join(sorted("refused" if code else "well" for code in codes)))


def at_once(command, folder):
    """The exit codes of two processes of one command, sorted."""
    both = [kills.started(command, folder) for _ in range(2)]
    for process in both:
        kills.ended(process)
    return sorted(process.returncode for process in both)


@pytest.mark.faults
def test_two_runs_in_one_place(made, tmp_path, counted):
    folder, expected = made
    command, result = kills.trained()
    assert at_once(command(tmp_path), tmp_path) in ([0, 1], [0, 2])
    assert result(tmp_path) == expected
    counted("two at once", "well and refused")


@pytest.mark.faults
def test_what_is_not_the_runs_stays(made, tmp_path, counted):
    """Files of others in every folder that a run writes to, through an overwrite and a resume."""
    folder, _ = made
    shutil.copytree(folder / "run", tmp_path / "run", symlinks=True)
    places = ["run", "run/checkpoints", "run/mine"]
    (tmp_path / "run" / "mine").mkdir()
    notes = {}
    for place in places:
        for name in ("notes.txt", ".hidden.tmp", "epoch-notes", "model.params.bak"):
            path = tmp_path / place / name
            path.write_text(f"{place} {name}")
            notes[path] = kills.digest(path)
    command, _ = kills.trained()
    words = command(tmp_path)
    assert run(words, tmp_path, tmp_path).returncode == 0
    assert run([*words, "--overwrite"], tmp_path, tmp_path).returncode == 0
    assert {path: kills.digest(path) for path in notes} == notes
    counted("files of others", "kept", len(notes))
