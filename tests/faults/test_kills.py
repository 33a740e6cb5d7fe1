"""Processes killed at random moments; what they leave is taken up again and ends as without a kill, to the bit."""

import contextlib
import hashlib
import http.server
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from script_runs import results

import gluon_aff

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SECONDS = 600


def environment(folder):
    variables = {name: value for name, value in os.environ.items() if name != "GLUON_AFF_DEBUG"}
    places = {"PYTHONPATH": ROOT, "MXNET_HOME": folder / "home", "TMPDIR": folder, "OMP_NUM_THREADS": 1}
    return {**variables, **{name: str(value) for name, value in places.items()}}


def started(command, folder):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment(folder), **pipes)


def ended(process):
    """What a process wrote to standard error until its end."""
    _, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err and "unexpected" not in err, err
    return err


class Work:
    """Something that a process does in a folder.

    ``command(folder)`` is its command line, and the same again after a kill. ``begun(folder)`` says that there is
    something to lose. ``result(folder)`` is what must be the same, however often it was killed.
    """

    def __init__(self, command, begun, result):
        self.command, self.begun, self.result = command, begun, result

    def start(self, folder):
        return started(self.command(folder), folder)

    def finish(self, folder):
        """Run to the end; seconds from the beginning of the work itself."""
        process = self.start(folder)
        begin = self.wait(process, folder)
        err = ended(process)
        assert process.returncode == 0 or " exists: remove it" in err, err  # it was killed behind its last step
        return time.monotonic() - begin

    def wait(self, process, folder):
        deadline = time.monotonic() + SECONDS
        while not self.begun(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        return time.monotonic()

    def kill(self, folder, number, delay):
        """Send the signal ``delay`` seconds after the work has begun; what became of the process."""
        process = self.start(folder)
        self.wait(process, folder)
        time.sleep(delay)
        process.send_signal(number)
        err = ended(process)
        assert process.returncode in (0, -number, 128 + number), (process.returncode, err)
        return "after its end" if process.returncode == 0 else signal.Signals(number).name


def trained():
    def command(folder):
        again = ["--resume"] if (folder / "run" / "config.yaml").exists() else []
        options = "--dataset digits --num-epochs 3 --train-images 96 --test-images 32 --batch-size 8 --blocks 1"
        options += " --channel-times 1 --save-period 1 --save-dir run"
        return [sys.executable, str(ROOT / "train_cifar.py"), *options.split(), "--gpus", "", *again]

    def result(folder):
        name, arrays, epochs = results(folder / "run")
        digests = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
        return name, digests, epochs, leftovers(folder)

    return command, result


def training(folder):
    command, result = trained()
    return Work(command, lambda folder: (folder / "run" / "train.log").exists(), result)


def checkpointing(folder):
    """The kill falls into the writing of a checkpoint."""
    command, result = trained()
    return Work(command, lambda folder: any((folder / "run" / "checkpoints").glob(".*.tmp")), result)


def leftovers(folder):
    """Temporary files and folders below a folder."""
    return sorted(path.name for path in folder.rglob("*") if re.search(r"\.tmp$|\.part$", path.name))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_images(root, count):
    for number in range(count):
        place = root / "train" / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:05d}.jpg")
    for name in ("class0", "class1"):
        place = root / "test" / name
        place.mkdir(parents=True)
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(place / "0.jpg")


def record_building(folder):
    write_images(folder / "images", 400)

    def command(at):
        words = f"-m gluon_aff records make {folder / 'images'} out.rec --split train --resize 40 --shuffle"
        return [sys.executable, *words.split()]

    def result(at):
        made = sorted(path for path in at.iterdir() if path.name.startswith("out"))
        return {path.name: digest(path) for path in made}, leftovers(at)

    return Work(command, lambda at: any(at.glob("*out*")), result)


CACHED = """
import sys
from pathlib import Path
from hashlib import sha256
from gluon_aff.data.folder import load_folder
from gluon_aff.utils import console

def main(argv):
    images = load_folder(Path(sys.argv[1]), "train", 64).images
    Path("digest").write_text(sha256(images.tobytes()).hexdigest())

console.run_program(main)
"""


def cache_building(folder):
    write_images(folder / "images", 400)

    def result(at):
        return (at / "digest").read_text(), [digest(path) for path in at.glob("home/**/*.npz")] != [], leftovers(at)

    return Work(
        lambda at: [sys.executable, "-c", CACHED, str(folder / "images")],
        lambda at: any(at.glob("home/datasets/cache/*")) or any(at.glob("home/datasets/cache/.*")),
        result,
    )


CONTENT = bytes(range(256)) * 4000


class Slow(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in small pieces."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked was killed
            for at in range(0, len(CONTENT), 1 << 15):
                self.wfile.write(CONTENT[at : at + (1 << 15)])
                time.sleep(0.01)

    def log_message(self, *args):
        pass


FETCH = """
import sys
sys.argv[0] = "gluon-aff"  # which leaves MXNet for later
from gluon_aff.utils import console
from gluon_aff.utils.download import download, expect
console.run_program(lambda argv: download(sys.argv[1], "set.bin", verify=expect(md5=sys.argv[2])) and 0)
"""


def downloading(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url, md5 = f"http://127.0.0.1:{server.server_port}/set.bin", hashlib.md5(CONTENT).hexdigest()
    os.environ["no_proxy"] = "127.0.0.1"
    return Work(
        lambda at: [sys.executable, "-c", FETCH, url, md5],
        lambda at: any(at.glob(".set.bin.*")),
        lambda at: (digest(at / "set.bin"), leftovers(at)),
    )


WORKS = {work.__name__: work for work in (training, checkpointing, record_building, cache_building, downloading)}


def kill_and_resume(tmp_path, counted, name, kills, seed):
    """Each kill is on a folder of its own, the resumed process is killed once more every other time."""
    dice = random.Random(seed)
    (tmp_path / "given").mkdir()
    work = WORKS[name](tmp_path / "given")
    whole = tmp_path / "whole"
    whole.mkdir()
    seconds = work.finish(whole)
    expected = work.result(whole)
    made = 0
    while made < kills:
        folder = tmp_path / f"killed-{made}"
        folder.mkdir()
        for _ in range(1 + (kills - made > 1 and made % 3 == 2)):
            delay = 0 if name == "checkpointing" else dice.uniform(0, seconds)
            counted(f"kills of {name.replace('_', ' ')}", work.kill(folder, SIGNALS[made % 3], delay))
            made += 1
        work.finish(folder)
        assert work.result(folder) == expected


@pytest.mark.parametrize("name", ["record_building", "downloading"])
def test_a_sample_of_kills(tmp_path, counted, name):
    kill_and_resume(tmp_path, counted, name, 1, 1)


KILLS = {"training": 14, "checkpointing": 10, "record_building": 10, "cache_building": 6, "downloading": 10}


@pytest.mark.faults
@pytest.mark.parametrize(("name", "kills"), KILLS.items())
def test_kills(tmp_path, counted, name, kills):
    kill_and_resume(tmp_path, counted, name, kills, 2)
