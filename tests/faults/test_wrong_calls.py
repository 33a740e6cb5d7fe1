"""Every option of every command given wrongly: one or two lines, a code, nothing touched, nothing hangs."""

import argparse
import contextlib
import hashlib
import io
import os
import signal
import socket
import tempfile
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from script_runs import subcommands

from gluon_aff import create_model
from gluon_aff.cli import main as cli
from gluon_aff.tasks import get_task, list_tasks
from gluon_aff.utils import console

SECONDS = 5  # then a call that was accepted gets Ctrl-C, as from a user who has seen enough
PUBLISHED = "paper_cifar100_resnet32_AFF_0.8967"
TINY = ["--blocks=1", "--num-epochs=1", "--gpus=", "--save-dir=out/run", "--overwrite", "--batch-size=4"]
DIGITS = ["--dataset=digits", "--train-images=8", "--test-images=8", "--channel-times=1", *TINY]
SHAPES = ["--dataset=shapes", "--train-images=4", "--test-images=2", "--base-size=32", "--crop-size=32", *TINY]
IMAGES = [
    "--data-dir=images",
    "--val-dir=images",
    "--input-size=32",
    *(option for option in TINY if not option.startswith("--blocks")),
]
WEIGHTS = ["--weights=run", "--gpus="]


#: The arguments that make a command a right one.
RIGHT = {
    ("train", "cifar"): DIGITS,
    ("train", "seg"): SHAPES,
    ("train", "imagenet"): IMAGES,
    ("summary",): ["cifar_aff_resnet8"],
    ("ablation",): ["--epochs=1", "--report-only", "--out=out/ablation", "--strategies=add", "--dataset=digits"],
    ("launch",): ["-n1", "--log-dir=out/logs", "--", "true"],
    ("evaluate",): WEIGHTS,
    ("gradcam",): [*WEIGHTS, "--images=images/train/a", "--out=out/cam", "--count=1"],
    ("attention",): [*WEIGHTS, "--images=images/train/a", "--out=out/attention", "--count=1"],
    ("compare",): ["run", "--plot=out/a.png"],
    ("plot", "depth"): ["--out=out/a.png"],
    ("plot", "history"): ["run", "--out=out/a.png"],
    ("plot", "schedule"): ["cifar-quick", "--out=out/a.png"],
    ("records", "make"): ["images", "out/a.rec"],
    ("records", "check"): ["a.rec"],
    ("records", "info"): ["a.rec"],
    ("published", "show"): [PUBLISHED],
    ("published", "path"): [PUBLISHED],
    ("published", "fetch"): [PUBLISHED, "--url=http://127.0.0.1:9/x"],
    ("published", "verify"): ["a.params"],
    ("published", "inspect"): ["a.params"],
    ("published", "convert"): ["a.params", "--to=npz", "--output=out/a.npz"],
}


#: Values for any option. What a parser accepts of these may be run, under a clock.
VALUES = {
    "empty": "",
    "wrong type": "zzz",
    "negative": "-1",
    "zero": "0",
    "huge": "9" * 24,
    "no number": "nan",
    "infinite": "1e999",
    "fraction": "0.5",
    "long": "n" * 300,
    "non-ASCII": "données/é",
    "undecodable": "\udcff",
    "not there": "nowhere/at/all",
    "a folder": "folder",
    "a file of text": "notes.txt",
    "an empty file": "empty",
    "below a file": "notes.txt/below",
    "not writable": "/proc/nothing/here",
}
#: Commands that take any number of words, or a command line of another program.
_OPEN_ENDED = ("gradcam", "attention", "plot", "launch", "ablation")
#: Options of tasks that would fetch something from elsewhere.
FETCHING = {"download"}
#: Actions without a value.
_FLAGS = (argparse._StoreTrueAction, argparse._StoreConstAction, argparse._HelpAction, argparse._VersionAction)


class Call(NamedTuple):
    """``fails``: whether the parser itself must refuse it."""

    argv: tuple
    kind: str
    option: str
    fails: bool


def everything():
    """Every wrong call."""
    for words, parser in subcommands(cli.build_parser()):
        if parser._subparsers is None and words != ("train",):
            yield from wrong(words, parser, RIGHT.get(words, []))
    for task in list_tasks():
        yield from wrong(("train", task), get_task(task).parser(), RIGHT["train", task])


def refuses(parser, action, value):
    """Whether the action's own type or choices refuse the value."""
    try:
        parser._check_value(action, parser._get_value(action, value))
    except Exception:
        return True
    return False


def wrong(words, parser, rest):
    """The wrong calls of one command."""
    end = rest.index("--") if "--" in rest else len(rest)

    def with_option(*option):
        return (*words, *rest[:end], *option, *rest[end:])

    yield Call(with_option("--no-such-option"), "unknown option", "--no-such-option", True)
    yield Call((*words, *rest, *["surplus"] * 3), "surplus", "surplus", words[0] not in _OPEN_ENDED)
    if any(action.required and action.nargs != "*" for action in parser._actions):
        yield Call(words, "nothing given", "", True)
    for action in parser._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        if action.dest in FETCHING or not flag or action.nargs == argparse.REMAINDER:
            continue
        if isinstance(action, _FLAGS) or action.nargs == 0:
            if flag.startswith("--"):
                yield Call(with_option(f"{flag}=1"), "value for a flag", flag, True)
            continue
        if action.nargs is None:
            yield Call((*words, *rest[:end], flag), "missing", flag, True)
        for kind, value in VALUES.items():
            word = f"{flag}={value}" if flag.startswith("--") else f"{flag}{value}"
            yield Call(with_option(word), kind, flag, refuses(parser, action, value))


def call(argv, seconds=SECONDS):
    """(exit code, standard output, standard error) of a call in this process; None as code when the clock ended it."""
    out, err = io.StringIO(), io.StringIO()
    rung = []

    def ring(number, frame):
        rung.append(number)
        os.kill(os.getpid(), signal.SIGINT)

    old = signal.signal(signal.SIGALRM, ring)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = console.run(cli.main, list(argv))
    except SystemExit as left:
        code = left.code
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        signal.signal(signal.SIGINT, interrupt)
    return (None if rung else code), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A folder with a run, weights, records and images, and what is there."""
    root = tmp_path_factory.mktemp("scene")
    keep = {name: os.environ.get(name) for name in ("GLUON_AFF_DEBUG", "MXNET_HOME")}
    here, os.environ["MXNET_HOME"] = os.getcwd(), str(root / "home")
    os.environ.pop("GLUON_AFF_DEBUG", None)
    os.chdir(root)
    try:
        for split in ("train", "val", "test"):
            for number, name in enumerate(("a", "b")):
                (root / "images" / split / name).mkdir(parents=True)
                pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
                for i in range(4):
                    Image.fromarray(pixels).save(root / "images" / split / name / f"{i}.jpg")
        (root / "folder").mkdir()
        (root / "notes.txt").write_text("my notes\n")
        (root / "empty").touch()
        create_model("cifar_aff_resnet8", channel_times=1, classes=10).save_parameters("a.params")
        run = [option.replace("out/run", "run") for option in DIGITS]
        assert call(["train", "cifar", *run], 120)[0] == 0
        assert call(["records", "make", "images", "a.rec", "--split=train"], 120)[0] == 0
        yield root
    finally:
        os.chdir(here)
        for name, value in keep.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture
def no_network(monkeypatch):
    """No name is looked up and nothing but this machine is called."""
    connect = socket.socket.connect

    def local(self, address):
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise OSError("this test calls nobody")
        return connect(self, address)

    def unknown(name, *rest, **more):
        if name not in ("127.0.0.1", "localhost"):
            raise socket.gaierror("this test looks nothing up")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", rest[0] if rest else 0))]

    monkeypatch.setattr(socket.socket, "connect", local)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "127.0.0.1" if name == "localhost" else unknown(name))


KEPT = ("run", "images", "folder", "notes.txt", "empty", "a.params", "a.rec", "a.idx")


def state(root):
    """What is in the places that no call may touch, file by file."""
    found = {}
    for name in KEPT:
        paths = [root / name, *sorted((root / name).rglob("*"))] if (root / name).is_dir() else [root / name]
        for path in paths:
            found[str(path)] = (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else sorted(os.listdir(path))
            )
    return found


#: Options that name an output: what they name is written to, whatever it is.
OUTPUTS = {
    *("--out", "--json", "--plot", "--output", "-o", "--save-dir", "--checkname", "--logging-dir", "--logging-file"),
    *("--resume", "--save-plot-dir", "--log-dir", "--predict", "--count"),
}


def check(root, wanted, counted):
    """Make one call, and hold what became of it to the bars; the faults found, as text."""
    before, begin = state(root), time.monotonic()
    threads = threading.active_count()
    code, out, err = call(wanted.argv)
    seconds = time.monotonic() - begin
    told = [line for line in err.splitlines() if ".cc:" not in line and "running on the CPU" not in line]
    faults = []
    if "Traceback" in err + out or "unexpected" in err or list((root / "tmp").glob("gluon-aff-error-*")):
        faults.append("unforeseen")
        for path in (root / "tmp").glob("gluon-aff-error-*"):
            told.append(path.read_text()[-1500:])
            path.unlink()
    if wanted.fails and code != 2:
        faults.append("not refused")
    if code not in (0, None, 1, 2, 127, 130):
        faults.append("strange code")
    if code in (1, 2) and not told and not out:
        faults.append("no message")
    if wanted.fails and len(told) > 2:
        faults.append("long message")
    if seconds > 12 * SECONDS:  # the batch and the checkpoint behind Ctrl-C, on a busy machine
        faults.append("hang")
    if state(root) != before and wanted.option not in OUTPUTS:
        faults.append("touched")
    if threading.active_count() > threads + 8:
        faults.append("threads left")
    outcome = {0: "accepted", None: "stopped by the clock", 130: "stopped by the clock"}.get(code, "refused")
    counted("wrong calls", outcome)
    if faults:
        return f"{', '.join(faults)}: {' '.join(wanted.argv)!a} -> {code}, {seconds:.1f} s: {' | '.join(told)[-1500:]}"
    return ""


def hold(root, calls, counted, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv("MXNET_HOME", str(root / "home"))
    monkeypatch.delenv("GLUON_AFF_DEBUG", raising=False)
    (root / "tmp").mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(root / "tmp"))
    found = []
    for wanted in calls:
        fault = check(root, wanted, counted)
        if fault:
            found.append(fault)
            print(fault)  # at once, with pytest -s
    assert not found, f"{len(found)} of {len(calls)} calls:\n" + "\n".join(found)


ALL = list(everything())


def test_calls_are_made_of_every_option():
    options = {(call.argv[:2], call.option) for call in ALL}
    assert len(ALL) > 2500 and len(options) > 250
    assert ("evaluate", "--batch-size") in {(call.argv[0], call.option) for call in ALL}


def test_a_sample_of_wrong_calls(scene, no_network, counted, monkeypatch):
    """Those that the parser must refuse, as they take no time; every 20th."""
    hold(scene, [call for call in ALL if call.fails][::20], counted, monkeypatch)


_WITH_ACTIONS = ("train", "plot", "records", "published")
GROUPS = sorted({call.argv[:2] if call.argv[0] in _WITH_ACTIONS else call.argv[:1] for call in ALL})


@pytest.mark.faults
@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_wrong_calls(scene, no_network, counted, monkeypatch, words):
    hold(scene, [call for call in ALL if call.argv[: len(words)] == words], counted, monkeypatch)
