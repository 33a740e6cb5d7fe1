"""No output replaces what a command reads, a run, a data set, or what others wrote: every option of every parser."""

import argparse
import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from script_runs import subcommands

from gluon_aff.cli import main as cli
from gluon_aff.errors import UsageError
from gluon_aff.tasks import get_task
from gluon_aff.utils.figures import FORMATS, new_figure, write_figure, write_pixels
from gluon_aff.utils.files import write_json
from gluon_aff.utils.outputs import Reads, Writes, content_of, guarded
from gluon_aff.utils.tables import write_csv

#: Options that take any text, none of which is a place.
TEXTS = {
    *("--model", "--fusion", "--dataset", "--gpus", "--class", "--layer", "--names", "--strategies", "--baseline"),
    *("--url", "--to", "--address", "--env", "--table", "--host", "--network"),
    *("--recipe", "--category", "--train-split", "--val-split", "id", "name", "pattern", "recipe", "task", "options"),
    *("command_line",),
}
TASKS = ("cifar", "imagenet", "seg")


COMMANDS = {words: parser for words, parser in subcommands(cli.build_parser()) if parser._subparsers is None}
COMMANDS.update({("train", task): get_task(task).parser(task) for task in TASKS})


def declared(kind):
    return [(words, a) for words, parser in COMMANDS.items() for a in parser._actions if isinstance(a.type, kind)]


def named(case):
    words, *actions = case
    return " ".join([*words, *("/".join(a.option_strings) or a.dest for a in actions)])


FILES = [(words, output) for words, output in declared(Writes) if not output.type.folder]
FOLDERS = [(words, output) for words, output in declared(Writes) if output.type.folder]
PAIRS = [
    (words, output, source) for words, output in declared(Writes) for other, source in declared(Reads) if other == words
]


def argv_of(words, places, *more):
    """A command line with what is required and ``places``, by action."""
    flags, arguments = list(more), []
    for action in COMMANDS[words]._actions:
        if action in places:
            value = str(places[action])
        elif action.required and action.nargs != argparse.REMAINDER:
            value = "new.png" if isinstance(action.type, Writes) else list(action.choices or "1")[0]
        else:
            continue
        (flags if action.option_strings else arguments).extend([*action.option_strings[:1], value])
    return [*arguments, *flags]


def begin(words, places, *more):
    """Let the command go as far as the guard lets it; the commands themselves do nothing here."""
    parser = COMMANDS[words]
    with guarded(parser, parser.parse_args(argv_of(words, places, *more))):
        pass


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A picture, and beside it the folders of a data set."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("photo.png")
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    return tmp_path / "photo.png"


def test_every_option_says_whether_it_is_a_place():
    for words, parser in COMMANDS.items():
        for action in parser._actions:
            if action.nargs == 0 or action.choices or action.dest in ("help", "version", argparse.SUPPRESS):
                continue
            known = {action.dest, *action.option_strings} & TEXTS
            reads_numbers = action.type not in (None, str) and not isinstance(action.type, (Reads, Writes))
            assert known or reads_numbers or isinstance(action.type, (Reads, Writes)), (words, action.option_strings)


@pytest.mark.parametrize("case", PAIRS, ids=named)
def test_an_output_is_no_input(case, photo, tmp_path):
    words, output, source = case
    os.link(photo, "hard.png")
    os.symlink("photo.png", "soft.png")
    for name in ("photo.png", photo, "./hard.png", "soft.png"):
        for more in ((), ("--overwrite",)):
            with pytest.raises(UsageError, match="is a file that is read here"):
                begin(words, {output: name, source: photo}, *more)


@pytest.mark.parametrize("case", FILES, ids=named)
def test_an_output_is_no_file_of_others_run_or_data_set(case, photo, tmp_path):
    words, output = case
    if output.type.forms:
        with pytest.raises(UsageError, match="--overwrite to lose it"):
            begin(words, {output: photo})
        begin(words, {output: photo}, "--overwrite")
        (tmp_path / "run").mkdir()
        for name in ("config.yaml", "history.jsonl", "x.png"):
            (tmp_path / "run" / name).write_bytes(photo.read_bytes())
        with pytest.raises(UsageError, match="a file of the run"):
            begin(words, {output: "run/x.png"}, "--overwrite")
    with pytest.raises(UsageError, match="lies in a data set"):
        begin(words, {output: "set/masks/new.png"}, "--overwrite")
    begin(words, {output: "new.png"})


@pytest.mark.parametrize("case", FOLDERS, ids=named)
def test_an_output_folder_is_none_of_a_data_set(case, photo):
    words, output = case
    with pytest.raises(UsageError, match="lies in a data set"):
        begin(words, {output: "set/images"}, "--overwrite")
    if output.type.masks:
        with pytest.raises(UsageError, match="images/ and masks/ of a data set"):
            begin(words, {output: "set"}, "--overwrite")
    begin(words, {output: "new"})


def test_commands_are_guarded_before_they_begin(photo, capsys, monkeypatch):
    monkeypatch.setattr(cli, "load_mxnet", lambda: pytest.fail("it began"))
    for argv in (
        ["gradcam", "--weights", "x", "--images", "photo.png", "--out", "photo.png"],
        ["attention", "--weights", "x", "--images", ".", "--out", "photo.png"],
        ["evaluate", "--weights", "photo.png", "--json", "photo.png"],
        ["plot", "history", "run", "--out", "photo.png"],
    ):
        with pytest.raises(UsageError, match="photo.png"):
            cli.main(argv)


def test_a_run_that_is_removed_holds_no_weights_that_are_read(photo):
    with pytest.raises(UsageError, match="--overwrite would remove"):
        begin(*_places("--save-dir", ".", "--resume-from", "photo.png"), "--overwrite")
    begin(*_places("--save-dir", ".", "--config", "photo.png"), "--overwrite")


def _places(*words):
    actions = COMMANDS["train", "cifar"]._option_string_actions
    return ("train", "cifar"), {actions[flag]: value for flag, value in zip(words[::2], words[1::2])}


FOREIGN = {
    "empty.json": b"",
    "coco.json": json.dumps({"images": [], "annotations": []}).encode(),
    "notes.csv": b"mine,own\n1,2\n",
    "weights.params": bytes(range(256)),
}


WRITERS = {
    "figure": lambda path: write_figure(new_figure(1, 1), path),
    "pixels": lambda path: write_pixels(np.zeros((4, 4), np.uint8), path),
    "document": lambda path: write_json({"images": 3, "top1": 0.5, "classes": [1]}, path),
    "table": lambda path: write_csv(("image", "class"), [("a", 1)], path),
}


@pytest.mark.parametrize(
    "kind, name",
    [*(("figure", f"a.{form}") for form in FORMATS), ("pixels", "a.png"), ("document", "a.json"), ("table", "a.csv")],
)
def test_what_an_output_wrote_it_replaces_and_nothing_else(kind, name, photo, tmp_path):
    """In a folder, where names are known only when the files are written."""
    words, output = next(case for case in FOLDERS if case[0] == ("evaluate",))
    parser, folder = COMMANDS[words], tmp_path / "out"
    write, contents = WRITERS[kind], {**FOREIGN, "photo.png": photo.read_bytes()}
    with guarded(parser, parser.parse_args(argv_of(words, {output: folder}))):
        write(folder / name)
        write(folder / name)
        for content in contents.values():
            (folder / name).write_bytes(content)
            if content:
                with pytest.raises(UsageError, match="--overwrite to lose it"):
                    write(folder / name)
                assert (folder / name).read_bytes() == content
            else:
                write(folder / name)
        write(tmp_path / name)
        (tmp_path / name).write_bytes(contents["weights.params"])
        write(tmp_path / name)  # a file that no output is: of a cache, for one
    with guarded(parser, parser.parse_args(argv_of(words, {output: folder}, "--overwrite"))):
        write(folder / name)


def test_a_file_is_told_by_its_content(tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("x.npy", b"")
    assert content_of(tmp_path / "a").shared == {"x.npy"}
    for content in (b"[" * 100_000, b"PK\x03\x04", b"\xff\x00", b"\x89PNG\r\n", b"<svg></svg>"):
        (tmp_path / "b").write_bytes(content)
        found = content_of(tmp_path / "b")
        assert found is None or found.form == "text"
    (tmp_path / "c").write_text('{"image": "a", "classes": []}\n{"image": "b", "error": "x"}\n')
    assert content_of(tmp_path / "c").shared == {"image", "classes"}
