"""Limited files, which stand for full disks, places that cannot be written, and two processes in one place."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_kills import cache_building, downloading, leftovers, record_building, trained, write_images

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
    """A folder with a finished run and images."""
    folder = tmp_path_factory.mktemp("made")
    assert run(trained()[0](folder), folder, folder).returncode == 0
    write_images(folder / "given" / "images", 20)
    return folder


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


def all_but_in_the_campaign(name):
    """Every command, of which the campaign alone runs all but one."""
    return [pytest.param(each, marks=[] if each == name else pytest.mark.faults) for each in outputs(Path("x"))]


@pytest.mark.parametrize("size", [0, 700])
@pytest.mark.parametrize("name", all_but_in_the_campaign("convert"))
def test_a_limit_on_file_sizes(made, tmp_path, counted, name, size):
    (tmp_path / "out").mkdir()
    done = run(outputs(made)[name], tmp_path, made, preexec_fn=limit(size))
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


@pytest.mark.parametrize("name", all_but_in_the_campaign("plot"))
def test_a_place_that_cannot_be_written(made, read_only, counted, name):
    done = run(outputs(made)[name], read_only, made)
    counted("places that cannot be written", one_line(done, "Read-only", "Permission denied", "cannot write"))
    assert not list((read_only / "out").iterdir())


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
