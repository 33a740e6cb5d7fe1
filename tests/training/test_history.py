"""History files: what is in them, and what becomes of half a line."""

import json

import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.training.history import History, environment, epoch_line, git_commit, read_records


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.start({"options": {"lr": 0.1}})
    for epoch in range(3):
        history.append({"epoch": epoch, "val": 0.1 * epoch})
    return history


def test_records(history):
    lines = history.path.read_text().splitlines()
    assert [json.loads(line)["record"] for line in lines] == ["header", "epoch", "epoch", "epoch"]
    assert history.header()["options"] == {"lr": 0.1}
    assert [record["val"] for record in history.epochs()] == [0.0, 0.1, 0.2]


@pytest.mark.parametrize("short", [0, 10])
def test_resuming_forgets_later_epochs_and_a_line_cut_short_and_says_so(history, short):
    content = history.path.read_text()
    history.path.write_text(content[: len(content) - short])
    assert len(history.epochs()) == (2 if short else 3)
    history.resume(2, {"command": "again"})
    history.append({"epoch": 2, "val": 0.7})
    assert [record["val"] for record in history.epochs()] == [0.0, 0.1, 0.7]
    assert read_records(history.path)[3] == {"record": "resume", "command": "again"}


def test_epochs_that_were_edited_are_told(history):
    lines = history.path.read_text().splitlines(keepends=True)
    best = {"epoch": 2, "val": 0.2}
    assert history.changed(3, best) is None and history.changed(2, None) is None
    header, *epochs = lines
    for edited in (epochs[:1] + epochs[2:], [epochs[0], *epochs], epochs[::-1], []):
        history.path.write_text("".join([header, *edited]))
        assert "it has not the epochs 0 to 2" in history.changed(3, best)
    history.path.write_text("".join(lines).replace('"val": 0.2', '"val": 0.9'))
    assert "val of epoch 2, the best, was 0.2" in history.changed(3, best)
    history.path.write_text("".join(lines))
    digest = history.digest(3)
    assert history.changed(3, best, digest) is None
    history.path.write_text("".join(lines).replace('"epoch": 1', '"loss": 1, "epoch": 1'))
    assert "its epochs are not those that the run wrote" in history.changed(3, best, digest)
    history.path.unlink()
    assert "was changed" in history.changed(3, best)


def test_another_file_is_not_a_history(tmp_path, history):
    history.path.write_text("hello\n" + history.path.read_text())
    with pytest.raises(GluonAFFError, match="line 1 is not a record of a history: 'hello'"):
        history.epochs()
    with pytest.raises(GluonAFFError, match="cannot read history"):
        read_records(tmp_path / "none.jsonl")


def test_the_line_is_the_authors_and_environment_names_what_a_figure_depends_on():
    record = {"epoch": 5, "train": 0.072373, "val": 0.0343, "loss": 4.584037, "lr": 0.2, "time": 29.44932}
    assert epoch_line(record) == "[Epoch 5] train=0.072373 val=0.034300 loss=4.584037 lr: 0.200000 time: 29.449320"
    assert epoch_line({**record, "train_metric": "rmse"}).startswith("[Epoch 5] train-rmse=0.072373 val=")
    facts = environment("1.2.3")
    assert facts["gluon_aff"] == "1.2.3"
    assert {"command", "commit", "mxnet", "numpy", "python", "threads"} <= facts.keys()
    json.dumps(facts)


def test_the_commit_is_read_from_files(tmp_path):
    assert git_commit(tmp_path) is None
    git = tmp_path / ".git"
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs\n" + "a" * 40 + " refs/heads/main\n")
    assert git_commit(tmp_path) == "a" * 40
    (git / "refs/heads").mkdir(parents=True)
    (git / "refs/heads/main").write_text("b" * 40 + "\n")
    assert git_commit(tmp_path) == "b" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert git_commit(tmp_path) == "c" * 40
    further = tmp_path / "further"
    further.mkdir()
    (further / ".git").write_text(f"gitdir: {git}/worktrees/further\n")
    (git / "worktrees/further").mkdir(parents=True)
    (git / "worktrees/further/commondir").write_text("../..\n")
    (git / "worktrees/further/HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(further) == "b" * 40
