"""What stands on a Grad-CAM sheet besides the pictures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gluon_aff.gradcam import ExplainedImage, cam_sheet


@pytest.fixture
def drawn(monkeypatch):
    """The texts of a sheet and its pictures' axes, from its rows."""

    def draw(rows):
        kept = []
        monkeypatch.setattr(cam_sheet, "write_figure", lambda figure, path, dpi: kept.append(figure))
        cam_sheet.draw_cam_sheet(rows, "sheet.png")
        (figure,) = kept
        texts = [text.get_text() for axes in figure.axes for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts)]
        legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        return [text for text in texts if text], legends, figure.axes

    return draw


def image(mask=None, heat=1.0, wrong=None):
    pixels = np.zeros((96, 128, 3), np.uint8)
    return ExplainedImage(None, pixels, np.full((96, 128), heat, np.float32), "cat", 0.5, None, None, wrong, mask)


def test_an_empty_map_says_so_and_a_full_one_does_not(drawn):
    texts, _, _ = drawn({"net": [image(), image(heat=0.0)]})
    assert [text for text in texts if "cat" in text] == ["cat 0.50", "cat 0.50, empty map"]
    assert texts.count("no evidence") == 1


def test_a_small_target_is_magnified_and_a_large_one_outlined(drawn):
    small, large = np.zeros((2, 96, 128), bool)
    small[10:14, 20:24], large[10:80, 20:90] = True, True
    texts, legends, axes = drawn({"net": [image(small, wrong=True), image(large, wrong=False)]})
    assert [len(each.images) for each in axes[:4]] == [2, 1, 2, 1]  # the picture, and its inset
    assert [len(each.collections) for each in axes[:4]] == [0, 1, 0, 0]  # the outline
    assert legends == ["wrong prediction", "true foreground", "framed: a small target, magnified in a corner"]
    assert "evidence, scaled for each map" in texts


def test_networks_of_two_input_sizes_frame_the_same_place(drawn):
    small = np.zeros((96, 128), bool)
    small[50:56, 60:66] = small[10:16, 20:26] = True  # two of one size, of which one is framed
    coarse, fine = image(small), image(np.kron(small, np.ones((2, 2), bool)))
    fine = replace(fine, pixels=np.zeros((192, 256, 3), np.uint8), heat=np.ones((192, 256), np.float32))
    _, _, axes = drawn({"coarse": [coarse], "fine": [fine]})
    frames = [[(*patch.get_xy(), patch.get_width()) for patch in each.patches] for each in axes[:3]]
    assert len(frames[0]) == 2 and frames[0] == frames[1]  # the window and its inset
    assert frames[2] == [tuple(2 * place for place in frame) for frame in frames[0]]


def test_many_pictures_make_several_sheets(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(
        cam_sheet, "draw_cam_sheet", lambda rows, path, dpi: drawn.append((path.name, len(rows["net"])))
    )
    picture = SimpleNamespace(folder="in", name="a", where="in/a.png")
    cam_sheet.write_explained({"net": [replace(image(), picture=picture)] * 11}, tmp_path)
    assert drawn == [("sheet.png", 10), ("sheet-2.png", 1)]


def test_only_what_is_there_is_explained(drawn):
    assert drawn({"net": [image()]})[1] == []


def test_small_pictures_are_enlarged_by_a_whole_number_and_large_ones_kept():
    assert cam_sheet.enlarged(np.zeros((20, 32, 3), np.uint8)).shape == (160, 256, 3)
    large = np.zeros((300, 20, 3), np.uint8)
    assert cam_sheet.enlarged(large) is large
