"""Exit codes, one line for every error, and a file with the traceback of what nobody foresaw."""

import re
from pathlib import Path

import pytest
from script_runs import in_a_process

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console


@pytest.fixture(autouse=True)
def as_users_run_it(monkeypatch, tmp_path):
    monkeypatch.delenv(console.DEBUG, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def raising(error):
    def main(argv):
        raise error

    return main


MEMORY = "take smaller images or batches, or lift the limit (ulimit -v)"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (GluonAFFError("no room"), 1, "error: no room"),
        (UsageError("no such option"), 2, "error: no such option"),
        (UsageError("`val_fraction` 2 of `a b`"), 2, "error: --val-fraction 2 of `a b`"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(36, "Too long", "n" * 90), 1, f"error: {'n' * 77}...: Too long; choose another name or place"),
        (RuntimeError("C++\nstd::bad_alloc"), 1, f"error: out of memory: std::bad_alloc; {MEMORY}"),
        (RuntimeError("can't start new thread"), 1, f"error: out of memory: can't start new thread; {MEMORY}"),
        (MemoryError("4 TiB"), 1, f"error: out of memory: 4 TiB; {MEMORY}"),
        (MemoryError(), 1, f"error: out of memory; {MEMORY}"),
        (
            RuntimeError("Could not determine home directory."),
            2,
            "error: a name begins with ~ and a user who is not here: write the folder out, or ./~name",
        ),
    ],
)
def test_known_ends_are_one_line(capsys, error, code, line):
    assert console.run(raising(error), []) == code
    assert capsys.readouterr() == ("", f"{line}\n")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3)])
def test_the_result_is_the_exit_code(result, code):
    assert console.run(lambda argv: result, []) == code


def test_an_unforeseen_error_is_one_line_and_a_file(capsys, tmp_path):
    error = ValueError("first line\nsecond line")
    found = []
    for _ in range(2):
        assert console.run(raising(error), []) == 1
        match = re.fullmatch(
            r"error: unexpected ValueError: first line; details in (\S+gluon-aff-error-\S+\.txt)\n",
            capsys.readouterr().err,
        )
        found.append(Path(match.group(1)))
    assert len(set(found)) == 2  # none is overwritten
    assert set(found) == set(tmp_path.iterdir())
    text = found[0].read_text()
    assert "Traceback (most recent call last)" in text
    assert "second line" in text


def test_where_no_file_can_be_written_the_line_says_how_to_see_more(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert console.run(raising(ZeroDivisionError()), []) == 1
    err = capsys.readouterr().err
    assert err == (
        "error: unexpected ZeroDivisionError; the details cannot be written (No such file or directory), "
        "GLUON_AFF_DEBUG=1 shows them\n"
    )


def test_a_variable_lets_unforeseen_errors_pass(monkeypatch):
    monkeypatch.setenv(console.DEBUG, "1")
    with pytest.raises(ZeroDivisionError):
        console.run(raising(ZeroDivisionError()), [])
    assert console.run(raising(GluonAFFError()), []) == 1


def test_a_missing_package_is_named_whatever_another_makes_of_it(capsys):
    def main(argv):
        try:
            raise ModuleNotFoundError("No module named 'yaml.nodes'", name="yaml.nodes")
        except ImportError:
            raise ImportError("no deep learning framework")  # noqa: B904

    assert console.run(main, []) == 1
    assert capsys.readouterr().err == (
        "error: the Python package yaml is missing or incomplete: `gluon-aff doctor` says what to install\n"
    )


def test_ctrl_c_that_an_import_turned_into_another_error_is_ctrl_c(capsys):
    def main(argv):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ImportError("numpy.core.multiarray failed to import")  # noqa: B904

    assert console.run(main, []) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_help_still_leaves_as_argparse_does(capsys):
    with pytest.raises(SystemExit) as left:
        console.run(raising(SystemExit(0)), [])
    assert left.value.code == 0


class Output:
    """Standard output on a disk that is full, or a pipe without a reader."""

    def __init__(self, error):
        self.error = error

    def write(self, text=""):
        raise self.error

    flush = write

    def fileno(self):
        raise OSError("no descriptor")


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (FULL, 1, "error: cannot write to standard output: No space left on device\n"),
    ],
)
@pytest.mark.parametrize("when", ["while printing", "at the end", "after --help"])
def test_output_that_is_lost(monkeypatch, capsys, error, code, message, when):
    def main(argv):
        if when == "while printing":
            print("a line")
        if when == "after --help":
            raise SystemExit(0)

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Output(error))
        assert console.run(main, []) == code
    assert capsys.readouterr().err == message


def test_an_error_on_a_lost_terminal_keeps_its_code(monkeypatch):
    monkeypatch.setattr("sys.stderr", Output(BrokenPipeError(32, "Broken pipe")))
    assert console.run(raising(UsageError("no such option")), []) == 2


def test_a_warning_of_a_program_is_one_line():
    code = (
        "import warnings; from gluon_aff.utils import console; console.run_program(lambda argv: warnings.warn('odd'))"
    )
    done = in_a_process(code)
    assert (done.returncode, done.stderr) == (0, "warning: odd\n")
