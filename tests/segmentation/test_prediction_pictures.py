"""Masks, overlays and contact sheets, by their pixels."""

import numpy as np
import pytest
from PIL import Image

from gluon_aff.errors import GluonAFFError
from gluon_aff.segmentation import pictures
from gluon_aff.segmentation.magnifying import small_target
from gluon_aff.segmentation.pictures import (
    Item,
    class_colours,
    class_overlay,
    predicted_pixels,
    prediction_overlay,
    write_predictions,
)
from gluon_aff.utils.files import FileNames

WHITE, MISS, FALSE = (255, 255, 255), (0xF0, 0xA0, 0x00), (0x3D, 0x8B, 0xFF)
SHAPE = (160, 240)


@pytest.fixture
def undrawn(monkeypatch):
    """Sheets are not drawn; the rows of each."""
    sheets = []
    monkeypatch.setattr(pictures, "_draw_sheet", lambda rows, path: sheets.append(len(rows)))
    return sheets


def item(name="a", truth=((50, 53), (60, 63)), found=((50, 53), (60, 63)), shape=SHAPE):
    """A grey image; truth and prediction are a rectangle each, (rows, columns), or none."""
    masks = []
    for box in (truth, found):
        mask = np.zeros(shape)
        if box:
            mask[slice(*box[0]), slice(*box[1])] = 1
        masks.append(mask)
    return Item(name, np.full((*shape, 3), 90, np.uint8), masks[0], masks[1] > 0)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def count(pixels, colour):
    return int((pixels == colour).all(axis=2).sum())


def column(pixels, number, of=4):
    """A column of a sheet below its legend and names."""
    width = pixels.shape[1] / of
    return pixels[100:, int(number * width) + 12 : int((number + 1) * width) - 12]


def test_masks_are_the_prediction_at_the_images_size(tmp_path, undrawn):
    logits = np.where(item(found=((10, 30), (5, 9))).found, 2.0, -2.0)[None]
    logits[0, 0, :2] = 0, 1e-6  # one half is background
    write_predictions(tmp_path, [item()._replace(truth=None, found=predicted_pixels(logits))])
    with Image.open(tmp_path / "masks" / "a.png") as image:
        assert image.mode == "L"
        mask = np.asarray(image)
    assert mask.shape == SHAPE and set(np.unique(mask)) == {0, 255}
    assert (mask[10:30, 5:9] == 255).all() and mask[0, 1] == 255 and (mask == 255).sum() == 81


def test_overlays_change_nothing_but_the_prediction_and_its_outline():
    image = np.random.RandomState(0).randint(0, 256, (*SHAPE, 3)).astype(np.uint8)
    found = np.zeros(SHAPE, bool)
    np.testing.assert_array_equal(prediction_overlay(image, found), image)
    found[20:30, 40:60] = True
    painted = prediction_overlay(image, found)
    changed = (painted != image).any(axis=2)
    assert not changed[:19].any() and not changed[:, 61:].any()
    assert {tuple(pixel) for pixel in painted[19, 39:61]} == {(255, 40, 200)}
    inside = painted[found].astype(int)
    assert (abs(inside - image[found]) < 65).all()  # the image shows through
    assert (inside != image[found]).any()


def test_overlays_with_a_truth_tell_found_missed_and_false():
    truth, found = np.zeros((2, *SHAPE), bool)
    truth[20:23, 20:23] = truth[60:63, 60:63] = found[21:24, 21:24] = found[120:123, 200:203] = True
    painted = prediction_overlay(np.full((*SHAPE, 3), 90, np.uint8), found, truth)
    picture = painted[: 3 * SHAPE[0]]
    assert painted.shape[1] == 3 * SHAPE[1] and (picture[186, 186] == 90).all()  # the target itself shows
    places = {(0, 195, 137): (19, 19), MISS: (59, 59), (255, 40, 200): (19, 19), FALSE: (118, 198)}
    for colour, place in places.items():
        rows, columns = np.nonzero((picture == colour).all(axis=2))
        assert (rows.min() // 3, columns.min() // 3) == place
        assert count(painted[len(picture) :], colour) > 0  # the legend


def test_the_likeliest_target_is_magnified():
    mask, logits = np.zeros(SHAPE, bool), np.zeros(SHAPE)
    mask[10:18, 10:18] = mask[100:102, 200:202] = True
    logits[mask], logits[101, 201] = 1, 2
    for given, (row, column) in ((None, (14, 14)), (logits, (101, 201))):
        view = small_target(mask, mask, given)
        assert 0 <= row - view.first[0] < view.side and 0 <= column - view.first[1] < view.side


def test_sheets_hold_eight_rows_and_items_are_taken_one_by_one(tmp_path, undrawn):
    def items():
        for number in range(9):
            yield item(str(number))
            assert (tmp_path / "overlays" / f"{number}.png").exists()

    assert [path.name for path in write_predictions(tmp_path, items())] == ["sheet-01.png", "sheet-02.png"]
    assert undrawn == [8, 1]
    assert len(list((tmp_path / "masks").iterdir())) == len(list((tmp_path / "overlays").iterdir())) == 9


def test_difference_tells_hits_misses_and_false_alarms(tmp_path):
    boxes = {"truth": ((40, 100), (40, 100)), "found": ((40, 100), (70, 130))}
    (sheet,) = write_predictions(tmp_path, [item(**boxes)])
    difference = column(read(sheet), 3)
    hit, miss, false = (count(difference, colour) for colour in (WHITE, MISS, FALSE))
    assert hit > 0 and miss > 3000 and miss == pytest.approx(false, rel=0.1)
    places = [np.argwhere((difference == colour).all(axis=2))[:, 1].mean() for colour in (MISS, FALSE)]
    assert places[0] < places[1]
    pixels = read(sheet)
    assert not any(count(column(pixels, number), colour) for number in (1, 2) for colour in (MISS, FALSE))


@pytest.mark.parametrize("shape", [(160, 240), (640, 480)])
def test_a_target_of_three_pixels_is_magnified(tmp_path, shape):
    (sheet,) = write_predictions(tmp_path, [item(shape=shape, found=None)])
    assert count(column(read(sheet), 3), MISS) > 15**2
    (sheet,) = write_predictions(tmp_path, [item(shape=shape, truth=((0, 100), (0, 100)), found=None)])
    whole = 100 * 100 * (2.7 * 120 / shape[1]) ** 2
    assert count(column(read(sheet), 3), MISS) == pytest.approx(whole, rel=0.3)  # needs no magnifying


def test_columns_need_a_truth(tmp_path):
    alone = item()._replace(truth=None)
    (sheet,) = write_predictions(tmp_path, [alone])
    without = read(sheet)
    mixed = read(write_predictions(tmp_path, [item(), alone])[0])
    assert without.shape[1] == pytest.approx(mixed.shape[1] / 2, rel=0.02) and count(without, MISS) == 0


@pytest.mark.parametrize("case", ["empty", "full", "noise", "one pixel", "line"])
def test_odd_masks_and_sizes_are_drawn(tmp_path, case):
    shape = {"one pixel": (1, 1), "line": (3, 700)}.get(case, SHAPE)
    row = item("$a_b$ %s & \\" + case, shape=shape, truth=None, found=None)
    if case == "full":
        row.found[:] = row.truth[:] = 1
    if case == "noise":
        row.found[:] = np.random.RandomState(0).rand(*shape) > 0.5
        row.truth[::9, ::9] = 1
    if case in ("one pixel", "line"):
        row.truth[0, 0] = 1
    (sheet,) = write_predictions(tmp_path, [row])
    assert read(sheet).std() > 10


def test_names_are_safe_and_unlike_each_other():
    names = FileNames()
    assert names("Misc_1") == "Misc_1"
    assert names("misc_1") == "misc_1-2"
    assert names("train/a b:c*.png") == "train_a_b_c_.png"
    assert names("../../etc/passwd") == "__.._etc_passwd"
    assert names("Straße") == "Straße"
    assert names("") == "_"
    long = [names("ü" * 300), names("ü" * 300)]
    assert all(len(name.encode()) <= 210 for name in long) and len(set(long)) == 2


def test_a_name_does_not_leave_the_directory(tmp_path, undrawn):
    write_predictions(tmp_path / "out", [item("../../up"), item("/abs"), item("..")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 3


def test_what_cannot_be_written_is_said(tmp_path):
    row = item()
    with pytest.raises(ValueError, match="a: prediction .160, 239., expected"):
        write_predictions(tmp_path, [row._replace(found=row.found[:, 1:])])
    with pytest.raises(ValueError, match="a: image float64"):
        write_predictions(tmp_path, [row._replace(image=row.image / 255)])
    (tmp_path / "file").write_text("")
    with pytest.raises(GluonAFFError, match="cannot write"):
        write_predictions(tmp_path / "file", [item()])


def test_class_predictions_are_files_that_are_masks_again(tmp_path):
    found = np.arange(42, dtype=np.uint8).reshape(6, 7) % 4
    truth = np.where(found == 3, 255, found).astype(np.uint8)
    image = np.full((6, 7, 3), 90, np.uint8)
    items = [Item("a/b", image, None, found)] + [Item("c", image, truth, found)] * 6
    sheets = write_predictions(tmp_path, items, ["ground", "cat", "dog", "eel"])
    assert [sheet.name for sheet in sheets] == ["sheet-01.png", "sheet-02.png"]
    assert len(list((tmp_path / "masks").iterdir())) == len(list((tmp_path / "overlays").iterdir())) == 7
    mask = Image.open(tmp_path / "masks/a_b.png")
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), found)
    np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), class_colours()[found])
    over = class_overlay(image, found)
    np.testing.assert_array_equal(over[found == 0], image[found == 0])
    np.testing.assert_array_equal(over[found == 1], (image[found == 1].astype(int) + (128, 0, 0) + 1) // 2)


def test_colours_are_vocs_and_told_apart():
    colours = class_colours()
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[15].tolist() == [192, 128, 128] and len(np.unique(colours, axis=0)) == 256
