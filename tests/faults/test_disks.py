"""Full disks, limited files, places that cannot be written, and two processes in one place."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_kills import cache_building, digest, downloading, leftovers, record_building, trained, write_images

import gluon_aff

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
SECONDS = 120


def environment(folder):
    variables = {name: value for name, value in os.environ.items() if name != "GLUON_AFF_DEBUG"}
    places = {"PYTHONPATH": ROOT, "MXNET_HOME": folder / "home", "TMPDIR": folder, "OMP_NUM_THREADS": 1}
    return {**variables, **{name: str(value) for name, value in places.items()}}


def limit(size):
    """What a process calls before it begins: no file may grow beyond ``size`` bytes."""

    def set_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return set_limit


def run(command, cwd, home, **more):
    more.update(cwd=cwd, env=environment(home), timeout=SECONDS)
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
    command, result = trained()
    assert run(command(folder), folder, folder).returncode == 0
    write_images(folder / "given" / "images", 20)
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
        "training": [*trained()[0](Path("/nowhere")), "--save-dir", "out/run"],
    }


NAMES = list(outputs(Path("x")))


@pytest.fixture
def disk(tmp_path):
    """A disk of its own of 256 kB, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here: the limit on file sizes stands for a full disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path):
    """Leave nothing on a disk."""
    with open(path, "wb", buffering=0) as handle:
        try:
            while True:
                handle.write(bytes(4096))
        except OSError:
            pass


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
    assert not leftovers(disk)


@pytest.mark.parametrize("size", [0, 700])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "convert" else pytest.mark.faults) for n in NAMES])
def test_a_limit_on_file_sizes(made, tmp_path, counted, name, size):
    folder, _ = made
    (tmp_path / "out").mkdir()
    done = run(outputs(folder)[name], tmp_path, folder, preexec_fn=limit(size))
    counted("limits on file sizes", one_line(done, "File too large", "incomplete", "temporary directory"))
    assert not leftovers(tmp_path)


@pytest.fixture
def read_only(tmp_path):
    place = tmp_path / "disk"
    (place / "out").mkdir(parents=True)
    if os.getuid():
        (place / "out").chmod(0o500)
        yield place
        (place / "out").chmod(0o700)
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place / "out")], capture_output=True)
    if mounted.returncode:
        pytest.skip("root may write anywhere, and no read-only file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place / "out")], check=True)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "plot" else pytest.mark.faults) for n in NAMES])
def test_a_place_that_cannot_be_written(made, read_only, counted, name):
    folder, _ = made
    done = run(outputs(folder)[name], read_only, folder)
    counted("places that cannot be written", one_line(done, "Read-only", "Permission denied", "cannot write"))
    assert not list((read_only / "out").iterdir())


@pytest.mark.faults
def test_a_run_on_a_disk_that_fills_up_goes_on_when_there_is_room(made, disk, counted):
    """The disk takes a few checkpoints' files; what was kept is taken up again, and ends as ever."""
    folder, expected = made
    command, result = trained()
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
@pytest.mark.parametrize("make", [record_building, cache_building, downloading], ids=lambda make: make.__name__)
def test_two_at_once(tmp_path, counted, make):
    """Both end well or one says that the place is taken, and what is there is whole."""
    (tmp_path / "given").mkdir()
    work = make(tmp_path / "given")
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    work.finish(tmp_path / "alone")
    expected = work.result(tmp_path / "alone")
    both = [work.start(tmp_path / "shared") for _ in range(2)]
    ends = [(process.communicate(timeout=SECONDS)[1], process.returncode) for process in both]
    assert 0 in {code for _, code in ends} and {code for _, code in ends} <= {0, 1, 2}, ends
    assert not any("Traceback" in err for err, _ in ends), ends
    assert work.result(tmp_path / "shared") == expected
    counted("two at once", " and ".join(sorted("well" if code == 0 else "refused" for _, code in ends)))


@pytest.mark.faults
def test_two_runs_in_one_place(made, tmp_path, counted):
    folder, expected = made
    command, result = trained()
    words = command(tmp_path)
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(words, cwd=tmp_path, env=environment(tmp_path), **pipes) for _ in range(2)]
    ends = [(process.communicate(timeout=SECONDS)[1], process.returncode) for process in both]
    assert sorted(code for _, code in ends) in ([0, 1], [0, 2]), ends
    assert not any("Traceback" in err for err, _ in ends), ends
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
            notes[path] = digest(path)
    command, _ = trained()
    words = command(tmp_path)
    assert run(words, tmp_path, tmp_path).returncode == 0
    assert run([*words, "--overwrite"], tmp_path, tmp_path).returncode == 0
    assert {path: digest(path) for path in notes} == notes
    counted("files of others", "kept", len(notes))
