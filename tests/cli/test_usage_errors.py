"""Wrong command lines are answered in two lines, before anything is read or written."""

import pytest

from gluon_aff.cli import main as cli


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as left:
        cli.main(list(argv))
    printed = capsys.readouterr()
    assert left.value.code == 2 and printed.out == ""
    usage, error = printed.err.splitlines()
    assert usage.startswith("usage: gluon-aff") and error.startswith("error: ")
    assert f"gluon-aff {argv[0]}" in usage
    return usage, error


@pytest.mark.parametrize(
    "argv, usage, message",
    [
        (["evaluate"], "--weights ID|FILE|RUN [OPTIONS]", "required: --weights"),
        (["attention"], "--image PLACE --out PLACE [OPTIONS]", "required: --weights, --image/--images, --out"),
        (["plot", "history"], "gluon-aff plot history [OPTIONS] RUN [RUN ...]", "required: RUN"),
        (["compare", "run", "--every", "0"], "gluon-aff compare [OPTIONS] [RUN]", "'0' is not a whole number"),
        (["launch"], "gluon-aff launch -n WORKERS", "required: -n/--workers"),
    ],
)
def test_usage_is_one_line(argv, usage, message, capsys):
    shown, error = refused(capsys, *argv)
    assert usage in shown and message in error
    assert f"{' '.join(['gluon-aff', *argv[: 2 if argv[0] == 'plot' else 1]])} --help" in error


@pytest.mark.parametrize(
    "argv",
    [["evaluate", "--weights", ""], ["evaluate", "--weights", "x", "--out", " "], ["plot", "depth", "--out", ""]],
)
def test_an_empty_name_is_not_the_current_directory(argv, capsys):
    assert "it is empty: give a name or a path" in refused(capsys, *argv)[1]


@pytest.mark.parametrize(
    "argv", [["plot", "history", "run", "--out", "x.jpg"], ["compare", "run", "--with", "name", "--plot", "x.tif"]]
)
def test_figures_end_in_a_known_format(argv, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "choose one of .png, .pdf, .svg" in refused(capsys, *argv)[1]
    assert not list(tmp_path.iterdir())


def test_the_resolution_of_a_figure_is_bounded(capsys):
    assert "from 10 to 1200" in refused(capsys, "plot", "depth", "--dpi", "5")[1]
