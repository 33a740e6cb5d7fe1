"""Figures: made without a display, written as what their file's ending says."""

import pytest
from PIL import Image
from script_runs import in_a_process

from gluon_aff.errors import UsageError
from gluon_aff.utils.figures import label_axes, new_figure, plain, write_figure

DRAW = """
import os, sys
from gluon_aff.utils.figures import new_figure, write_figure
figure = new_figure(1, 1)
figure.subplots().plot([1, 2])
write_figure(figure, sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
print(os.environ["MPLBACKEND"], type(figure.canvas).__name__)
"""


@pytest.mark.parametrize("backend", ["module://ipykernel.pylab.backend_inline", "no_such_backend"])
def test_the_backend_does_not_matter(tmp_path, backend):
    path = tmp_path / "figure.png"
    done = in_a_process(DRAW, path, MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [backend, "FigureCanvasAgg"]
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "name, begins", [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml"), ("no_ending", b"\x89PNG")]
)
def test_the_ending_is_the_format(tmp_path, name, begins):
    figure = new_figure(1, 1)
    figure.subplots().plot([1, 2])
    write_figure(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_other_endings_are_refused_and_dpi_are_pixels_per_inch(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be written as \.zzz; choose one of \.png, \.pdf, \.svg"):
        write_figure(new_figure(1, 1), tmp_path / "a.zzz")
    assert not list(tmp_path.iterdir())
    for dpi in (50, 100):
        write_figure(new_figure(2, 1), tmp_path / "a.png", dpi)
        assert Image.open(tmp_path / "a.png").size == (2 * dpi, dpi)


def test_text_is_shown_as_it_is(tmp_path):
    figure = new_figure(3, 2)
    axes = figure.subplots()
    for name in ("_hidden", r"cost $5 and $6", r"$\nonsense$"):
        axes.plot([1, 2], label=plain(name))
    label_axes(axes, "epoch", "", r"$\frac$")
    shown = [text.get_text() for text in axes.legend().get_texts()]
    assert len(shown) == 3 and shown[0].strip() == "_hidden"
    write_figure(figure, tmp_path / "a.png")  # fails on text that is read as mathematics


def test_names_that_cannot_be_drawn(tmp_path, capsys, recwarn):
    """Bytes that are not UTF-8 have a replacement; what the font has not is told, once for a figure."""
    figure = new_figure(3, 2)
    label_axes(figure.subplots(), "epoch", "", "caf\udce9")
    write_figure(figure, tmp_path / "a.png")
    assert figure.axes[0].get_title() == "caf\ufffd" and capsys.readouterr().err == ""
    for axes_title in ("\u732b", "\u72d7 \u732b"):
        figure.axes[0].set_title(axes_title)
    figure.suptitle("\u732b")
    write_figure(figure, tmp_path / "a.pdf")
    told = capsys.readouterr().err
    assert told.startswith(f"note: {tmp_path}/a.pdf has boxes in place of \u72d7 \u732b: the font has no such")
    assert told.count("\n") == 1 and not [each for each in recwarn if "Glyph" in str(each.message)]


def test_epochs_are_whole_numbers():
    axes = new_figure(9, 4).subplots()
    axes.plot([0, 1, 2], [3, 4, 5])
    assert any(tick % 1 for tick in axes.get_xticks())
    label_axes(axes, "epoch", "loss")
    assert not any(tick % 1 for tick in axes.get_xticks())
