"""A run deletes its own files and nothing else, and outlives its terminal and its plots."""

import os

import pytest

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.training import Run
from gluon_aff.training.run import check_free, own_files
from gluon_aff.utils import streams
from gluon_aff.utils.figures import source_of

CHECKPOINT = "epoch-00001-batch-000000"
OWN = ["config.yaml", "history.jsonl", "train.log", "curves.png", "tensorboard/events.out.tfevents.1.here"]
OWN += [f"checkpoints/{CHECKPOINT}/state.json", f"checkpoints/{CHECKPOINT}.damaged/state.json"]
OWN += [f"checkpoints/.{CHECKPOINT}.tmp/model.params"]
USERS = ["notes.txt", "train.log.old", "config.yml", "best.txt", "tensorboard/notes.txt", "checkpoints/notes.txt"]
USERS += [f"checkpoints/{CHECKPOINT}-keep/model.params", f"checkpoints/my-{CHECKPOINT}/model.params"]
USERS += ["checkpoints/epoch-1/model.params"]
EPOCH = {"epoch": 0, "val": 0.1, "train": 0.2, "loss": 1.0, "train_metric": "accuracy"}


def fill(directory, names):
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"this is {name}")


def files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "run"
    fill(directory, [*OWN, *USERS])
    (directory / "best").symlink_to(f"checkpoints/{CHECKPOINT}")
    return directory


def test_a_new_run_deletes_its_own_files_and_no_others(directory):
    with Run(directory, {}) as run:
        run.begin(overwrite=True)
        assert files(directory) == sorted([*USERS, ".lock"])
        assert not os.path.lexists(directory / "best")
        run.begin()  # files of others do not matter
    assert own_files(directory) == []


@pytest.mark.parametrize("linked", ["checkpoints", "tensorboard", f"checkpoints/{CHECKPOINT}"])
def test_overwrite_deletes_a_link_and_never_what_it_points_to(directory, tmp_path, linked):
    (directory / linked).rename(tmp_path / "other")
    (directory / linked).symlink_to(tmp_path / "other")
    before = files(tmp_path / "other")
    with Run(directory, {}) as run:
        with pytest.raises(UsageError, match="holds a run already"):
            run.begin()
        (directory / "history.jsonl").unlink()
        with pytest.raises(UsageError, match="would replace .*"):
            run.begin()
        run.begin(overwrite=True)
        assert not os.path.lexists(directory / linked)
        run.checkpoints.save(1, 0, {}, {"best": {"checkpoint": CHECKPOINT}})
    assert files(tmp_path / "other") == before


def test_without_overwrite_nothing_is_deleted(directory):
    with pytest.raises(UsageError, match="holds a run already: --resume continues it, --overwrite removes it"):
        check_free(directory)
    (directory / "history.jsonl").unlink()
    before = files(directory)
    with Run(directory, {}) as run, pytest.raises(UsageError, match=r"would replace \(config.yaml, curves.png"):
        run.begin()
    assert [name for name in before if name not in files(directory)] == [f"checkpoints/.{CHECKPOINT}.tmp/model.params"]
    for number, name in enumerate(("config.yaml", "curves.png", f"checkpoints/{CHECKPOINT}/x.params")):
        fill(directory / str(number), [name])  # one file of such a name is enough
        with pytest.raises(UsageError, match="choose another --save-dir, or --overwrite to lose them"):
            check_free(directory / str(number))
        assert files(directory / str(number)) == [name]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("make", ["file", "folder", "link", "checkpoints"])
def test_what_is_in_the_way_and_not_a_runs_is_never_replaced(tmp_path, make, overwrite):
    best = tmp_path / ("checkpoints" if make == "checkpoints" else "best")
    if make == "folder":
        best.mkdir()
    elif make == "link":
        best.symlink_to(tmp_path.parent)
    else:
        best.write_text("mine")
    with pytest.raises(UsageError, match=f"{best.name} is in the way of a run's {best.name}"):
        check_free(tmp_path, overwrite)
    assert os.path.lexists(best)


def test_a_log_elsewhere_is_appended_to(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes\n")
    for name in ("first", "second"):
        with Run(tmp_path / name, {}, log_file=notes) as run:
            run.begin(overwrite=True)
            run.log(f"line of {name}")
    expected = ["my notes"]
    for name in ("first", "second"):
        expected += [f"---- run in {tmp_path / name}", f"line of {name}"]
    assert [line.split(", begun")[0] for line in notes.read_text().splitlines() if line] == expected


def test_two_runs_at_once_share_a_folder_of_logs_and_plots_where_another_picture_stays(tmp_path, capsys):
    logs, plots = tmp_path / "logs", tmp_path / "plots"
    fill(tmp_path, ["plots/curves.png"])
    places = {"log_dir": logs, "plot_dir": plots}
    with Run(tmp_path / "a", {}, **places) as first, Run(tmp_path / "b", {}, **places) as second:
        for _ in range(2):
            for run in (first, second):
                run.begin(overwrite=True)
                run.history.start({})
                run.history.append(EPOCH)
                run.log(f"line of {run.directory.name}")
                run.plot()
    assert (first.log.path.name, second.log.path.name) == ("train.log", "train-2.log")
    assert {"line of a"} == {line for line in (logs / "train.log").read_text().splitlines() if "line" in line}
    assert {"line of b"} == {line for line in (logs / "train-2.log").read_text().splitlines() if "line" in line}
    drawn = {"curves-2.png": str(tmp_path / "a"), "curves-3.png": str(tmp_path / "b")}
    assert {path.name: source_of(path) for path in plots.iterdir() if path.name != "curves.png"} == drawn
    assert (plots / "curves.png").read_text() == "this is plots/curves.png"


def test_a_log_that_cannot_be_is_an_error_before_anything_is_written(tmp_path):
    fill(tmp_path, ["file"])
    with pytest.raises(GluonAFFError, match="cannot write .*file/train.log"):
        Run(tmp_path / "run", {}, log_dir=tmp_path / "file")
    Run(tmp_path / "run", {}).__exit__(None, None, None)  # it is not locked
    for place in (tmp_path / "file", "a" * 300):
        with pytest.raises(GluonAFFError, match="cannot write to .*; choose another directory"):
            check_free(tmp_path / "other", False, place)


def test_a_plot_that_fails_is_one_line(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("no\nfonts")

    monkeypatch.setattr("gluon_aff.training.run.plot_history", fail)
    with Run(tmp_path, {}) as run:
        run.history.start({})
        run.plot()
        run.plot()
    expected = "note: the curves cannot be drawn: ValueError: no fonts\n"
    assert (tmp_path / "train.log").read_text() == capsys.readouterr().out == expected


def test_an_error_is_in_the_log(tmp_path, capsys):
    for error in (GluonAFFError("the disk is full"), ZeroDivisionError("by 0")):
        with pytest.raises(type(error)), Run(tmp_path, {}):
            raise error
    assert (tmp_path / "train.log").read_text().splitlines() == [
        "error: the disk is full",
        "unexpected ZeroDivisionError: by 0",
    ]


class Gone:
    """A pipe whose reader has gone."""

    def write(self, text=""):
        raise BrokenPipeError(32, "Broken pipe")

    flush = fileno = write


def test_a_run_goes_on_without_its_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", Gone())
    monkeypatch.setattr("sys.stderr", Gone())
    with Run(tmp_path, {}) as run:
        run.log("one")
        run.log("two")
        assert streams.output_lost() == "Broken pipe"
        run.log.append(os.fsdecode(b"caf\xe9"))  # a name that is not text
    one, note, two, name = (tmp_path / "train.log").read_bytes().splitlines()
    assert (one, two, name) == (b"one", b"two", b"caf\xe9")
    assert note.startswith(b"note: standard output was lost (Broken pipe)")
