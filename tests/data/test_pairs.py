"""Images with masks: sets of them, and folders and zips in every mode and in SIRST's layout, right and wrong."""

import hashlib
import io
import threading

import numpy as np
import pytest
from image_files import encoded, message_of, write
from PIL import Image

from gluon_aff.data import EvalPairs, PairLoader, PairSet, list_datasets, load_pair_set
from gluon_aff.data.picture_files import find_pictures
from gluon_aff.errors import GluonAFFError, UsageError


def made_up(count=5, side=10, read=None, **options):
    def numbered(name):
        return np.full((side, side, 3), int(name), dtype=np.uint8), np.zeros((side, side), dtype=np.uint8)

    return PairSet("made-up", "memory", [str(i) for i in range(count)], read or numbered, "5 images", **options)


def test_pairs_are_read_when_asked_for_and_kept_up_to_a_limit():
    made = made_up(cache_bytes=2 * 4 * 100)
    asked, read = [], made.read
    made.read = lambda name: asked.append(name) or read(name)
    assert asked == [] and len(made) == 5
    kept = [made.pair(i)[0] is made.pair(i)[0] for i in (3, 0, 1, 2, 4)]
    assert kept == [True, True, False, False, False] and asked == list("30112244")
    for pixels in made.pair(0):
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 1


IMAGE, MASK = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("image", "mask", "told"),
    [
        (np.zeros((4, 4, 3)), MASK, r"the image is float64 \(4, 4, 3\)"),
        (MASK, MASK, r"the image is uint8 \(4, 4\)"),
        (IMAGE, np.zeros((4, 5), np.uint8), r"the mask is uint8 \(4, 5\), expected uint8 \(4, 4\)"),
        (IMAGE, np.zeros((4, 4)), "the mask is float64"),
        (IMAGE, MASK + 255, "the mask holds 255, expected 0 and 1 only"),
    ],
)
def test_pairs_that_someone_else_reads_are_checked(image, mask, told):
    with pytest.raises(UsageError, match=rf"0 of made-up \(memory\): {told}"):
        made_up(read=lambda name: (image, mask)).pair(0)


def test_threads_share_a_set():
    made, wrong = made_up(50), []

    def look():
        wrong.extend(i for i in range(50) if made.pair(i)[0][0, 0, 0] != i)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_a_subset_is_seeded_and_the_beginning_of_a_larger_one():
    made = made_up(20)
    small, large = made.subset(5, seed=1), made.subset(15, seed=1)
    assert large.names[:5] == small.names and len(set(large.names)) == 15
    assert made.subset(5, seed=2).names != small.names
    assert [int(small.pair(i)[0][0, 0, 0]) for i in range(5)] == [int(name) for name in small.names]
    assert small.note == "5 of these, drawn with seed 1: 5 images"


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("cifar10", "train"), {}, "no segmentation data set 'cifar10': choose one of sirst, coco, folder, shapes"),
        (("folder", "train"), {}, "needs a path"),
        (("folder", "train", "nowhere"), {}, "no data at nowhere: there is no such file or folder"),
        (("sirst", "train"), {}, "datasets/sirst: get it from"),
        (("stopsign", "train"), {}, "datasets/coco: give the folder or zip"),
        (("shapes", "train", "."), {}, "the shapes come with gluon_aff and have no data directory"),
        (("shapes", "trainval"), {}, "shapes has no split 'trainval': choose one of train, val"),
        (("sirst", "train"), {"download": True}, "sirst cannot be downloaded, only coco can"),
        (("shapes", "train"), {"mask_threshold": 128}, "a mask threshold is for data sets of kind folder"),
        (("sirst", "train", "."), {"mask_ignore": 255}, "`mask_ignore` is for data sets of kind folder, not for sirst"),
        (("shapes", "train"), {"classes": 3}, "shapes marks foreground and background, leave it out"),
        (("folder", "train", "."), {"classes": 4, "mask_threshold": 9}, "leave it out, or `classes`"),
    ],
)
def test_what_cannot_be_asked_for(arguments, options, message):
    assert list_datasets(masks=True) == ["sirst", "coco", "folder", "shapes"]
    with pytest.raises(UsageError, match=message) as caught:
        load_pair_set(*arguments, **options)
    assert "\n" not in str(caught.value)


# Folders and zips ----------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
PIXELS = {name: RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8) for name in "abc"}
MASKS = {name: RNG.integers(0, 2, (6, 8), dtype=np.uint8) for name in "abc"}
GREY, RED = PIXELS["a"][..., 0], PIXELS["a"] * np.uint8([1, 0, 0])


def contents(ending="", lists="", **changed):
    """{name: bytes}; ``changed`` replaces files by names in which / is __ and . is _at_, None removes them."""
    files = {f"{lists}train.txt": b"a\nb\n", f"{lists}val.txt": b"c\n"}
    for name in "abc":
        files[f"images/{name}.png"] = encoded(PIXELS[name])
        files[f"masks/{name}{ending}.png"] = encoded(255 * MASKS[name])
    for name, content in changed.items():
        files[name.replace("__", "/").replace("_at_", ".")] = content
    return {name: content for name, content in files.items() if content is not None}


@pytest.mark.parametrize("top", ["", "top/"])
def test_pairs_in_the_order_of_the_list(place, top):
    files = {top + name: content for name, content in contents(train_at_txt=b"b\n\n a \r\n").items()}
    got = load_pair_set("folder", "train", place({**files, "__MACOSX/x.png": b"", ".DS_Store": b""}))
    assert got.names == ("b", "a") and got.name == "folder"
    for i, name in enumerate(got.names):
        image, mask = got.pair(i)
        np.testing.assert_array_equal(image, PIXELS[name])
        np.testing.assert_array_equal(mask, MASKS[name])
        assert image.dtype == mask.dtype == np.uint8
    share = 100 * np.mean([MASKS["a"].mean(), MASKS["b"].mean()])
    assert got.note == f"folder train: 2 images, {share:.2g} % foreground"


def test_sirst_layout_and_a_pair_of_two_sizes(place, capsys):
    large = np.repeat(np.repeat(255 * MASKS["b"], 2, axis=0), 2, axis=1)
    path = place(contents("_pixels0", lists="idx_427/", masks__b_pixels0_at_png=encoded(large)))
    np.testing.assert_array_equal(load_pair_set("sirst", "val", path).pair(0)[1], MASKS["c"])
    got = load_pair_set("sirst", "train", path)
    noted = capsys.readouterr().err
    assert "images/b.png is 8x6, but its mask b_pixels0.png 16x12; the mask is resized" in noted
    assert noted.count("\n") == 1
    np.testing.assert_array_equal(got.pair(1)[1], MASKS["b"])
    np.testing.assert_array_equal(got.pair(1, aligned=False)[1], (large > 0).astype(np.uint8))
    assert load_pair_set("sirst", "train", path).names == got.names and capsys.readouterr().err == ""  # told once


def test_evaluation_resizes_a_mask_of_another_size_by_itself(tmp_path):
    large = RNG.integers(0, 2, (12, 16), dtype=np.uint8)
    path = write(tmp_path, contents(masks__b_at_png=encoded(255 * large)))
    chosen = load_pair_set("folder", "train", path).subset(2, seed=0)
    aligned = resized(large, 8, 6)
    assert (resized(aligned, 12, 12) != resized(large, 12, 12)).any()
    for transform, expected in ((EvalPairs(12), resized(large, 12, 12)), (EvalPairs(None), aligned)):
        masks = [y[0, 0] for _, y in PairLoader(chosen, 1, transform, shuffle=False).batches(0)]
        np.testing.assert_array_equal(masks[chosen.names.index("b")], expected)


def resized(mask, width, height):
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


# Splits --------------------------------------------------------------------------------------------------------------

TOP = {"": "folder", "idx_427/": "sirst", "img_idx/": "folder"}


@pytest.mark.parametrize("lists", TOP)
@pytest.mark.parametrize("top", ["", "top/"])
def test_a_split_by_name_and_by_folder(place, lists, top):
    files = contents(lists=lists, idx_320__test_at_txt=b"b.png\r\nc.png\r\n")
    path = place({top + name: content for name, content in files.items()})
    for split, names in (("train", "ab"), (f"{lists}val", "c"), (f"{lists}val.txt", "c"), ("idx_320/test", "bc")):
        got = load_pair_set(TOP[lists], split, path)
        assert got.names == tuple(names) and got.listed is None
        assert got.note.startswith(f"{got.name} {split}: {len(names)} images")


@pytest.mark.parametrize("form", ["absolute", "relative", "absolute, without .txt"])
def test_a_list_of_ones_own(place, tmp_path, monkeypatch, form):
    path, own = place(contents()), tmp_path / "lists" / "mine.txt"
    write(tmp_path, {"lists/mine.txt": b"\xef\xbb\xbfc\r\na\r\n"})
    monkeypatch.chdir(tmp_path)
    split = {"absolute": str(own), "relative": "lists/mine.txt"}.get(form, str(own)[:-4])
    got = load_pair_set("folder", split, path)
    assert got.names == ("c", "a")
    assert got.listed == {"path": str(own), "sha256": hashlib.sha256(own.read_bytes()).hexdigest()}
    assert got.subset(1, seed=0).listed == got.listed
    own.write_bytes(b"c\nd\n")
    assert f"{split.replace('.txt', '')}.txt lists d, but" in message_of(load_pair_set, "folder", split, path)


@pytest.mark.parametrize("top", ["", "sirst/"])
def test_lists_beside_the_data_are_taken_and_told(place, tmp_path, capsys, top):
    files = contents("_pixels0", lists="idx_427/")
    path = place({top + name: content for name, content in files.items()})
    message = message_of(load_pair_set, "sirst", "idx_320/test", path)
    assert "sirst has no split 'idx_320/test': " in message and " has no idx_320/test.txt, " in message
    assert "choose one of train, val, or give the path of a list of your own (idx_427 and idx_320 come with" in message
    assert "no split 'test'" in message_of(load_pair_set, "sirst", "test", path)
    beside = write(tmp_path, {"idx_320/test.txt": b"b\n", "test.txt": b"b\n"}) / "idx_320/test.txt"
    got = load_pair_set("sirst", "idx_320/test", path)
    assert got.names == ("b",) and got.listed["path"] == str(beside)
    told = f"note: {path} has no idx_320/test.txt, the one beside it is taken: {beside}\n"
    assert capsys.readouterr().err == told
    assert "no split 'test'" in message_of(load_pair_set, "sirst", "test", path)  # a bare name is never one outside


def test_what_was_looked_for_is_told(place, tmp_path):
    path = place(contents(lists="img_idx/", idx_9__test_at_txt=b"a"))
    for split, message in (
        (
            "test",
            f"folder has no split 'test': {path} has no test.txt or img_idx/test.txt or img_idx/test_*.txt, choose",
        ),
        ("idx_9/val", f"{path} has no idx_9/val.txt, choose one of train, val, idx_9/test, or give the path of a list"),
        ("no.txt", "has no no.txt or img_idx/no.txt or img_idx/no_*.txt and there is no file no.txt, choose"),
        (str(tmp_path / "no.txt"), f"no.txt': there is no file {tmp_path}/no.txt, choose one of train"),
        ("../images/train", "there is no file ../images/train.txt"),
    ):
        assert message in message_of(load_pair_set, "folder", split, path)


@pytest.mark.parametrize("name", ["sirst", "folder"])
def test_layouts_of_other_infrared_sets(place, name, capsys):
    """NUDT-SIRST names its lists by itself and has no validation images; masks of 0 and 1; ids with .png."""
    files = {
        f"img_idx/{split}_NUDT-SIRST.txt": lines for split, lines in (("train", b"b.png\r\na\r\n"), ("test", b"c"))
    }
    files.update(contents(train_at_txt=None, val_at_txt=None, masks__b_at_png=encoded(MASKS["b"])))
    path = place(files)
    for split, names in (("train", "ba"), ("test_NUDT-SIRST", "c"), ("img_idx/test_NUDT-SIRST", "c"), ("test", "c")):
        got = load_pair_set(name, split, path)
        assert got.names == tuple(names)
        for i, each in enumerate(names):
            np.testing.assert_array_equal(got.pair(i)[1], MASKS[each])
    assert "choose one of test_NUDT-SIRST, train_NUDT-SIRST, or" in message_of(load_pair_set, name, "val", path)
    assert load_pair_set(name, "trainval", path).names == ("b", "a")
    assert "has no lists trainval and val: all of train is taken" in capsys.readouterr().err


def test_pictures_of_a_split(place, tmp_path):
    path = place({f"top/{name}": content for name, content in contents("_pixels0", lists="idx_427/").items()})
    assert [each.name for each in find_pictures([str(path)], split="train").chosen] == ["a", "b"]
    own = write(tmp_path, {"mine.txt": b"c.png\r\na"}) / "mine.txt"
    (first, second) = find_pictures([str(path)], split=str(own)).chosen
    assert (first.name, second.name) == ("c", "a") and first.content() == contents()["images/c.png"]
    assert "no split 'test'" in message_of(find_pictures, [str(path)], split="test")
    assert "neither a folder nor a whole zip" in message_of(find_pictures, [str(own)], split="train")


def test_masks_by_either_name_and_a_list_that_could_be_several(tmp_path):
    path = write(tmp_path, contents("_pixels0", images__b_at_png=None, img_idx__test_A_at_txt=b"a"))
    assert load_pair_set("folder", "val", path).names == ("c",)
    assert "lists b, but" in message_of(load_pair_set, "folder", "train", path)
    write(tmp_path, {"img_idx/test_B.txt": b"b", "masks/a_pixels0.png": b""})
    assert "give img_idx/test_A or img_idx/test_B" in message_of(load_pair_set, "folder", "test", path)
    (tmp_path / "masks/c_pixels0.png").unlink()
    message = message_of(load_pair_set, "sirst", "val", path)
    assert "val.txt lists c, but" in message and "masks has no c_pixels0.png or c.png (or jpg, bmp, tif)" in message


def test_masks_without_foreground_are_counted(tmp_path, capsys):
    black = encoded(np.zeros((6, 8), dtype=np.uint8))
    load_pair_set("folder", "train", write(tmp_path, contents(masks__a_at_png=black)))
    assert capsys.readouterr().err == "note: 1 of 2 masks of folder train hold no foreground\n"


def test_a_folder_without_lists_is_split_by_the_seed(place, capsys):
    files = contents(train_at_txt=None, val_at_txt=None)
    for number in range(7):
        files[f"images/d{number}.png"] = encoded(np.full((6, 8, 3), number // 2, dtype=np.uint8))  # d0 and d1 are alike
        files[f"masks/d{number}.png"] = encoded(255 * MASKS["a"])
    path = place(files)
    with pytest.raises(UsageError, match="write one with one id per line; or `val_fraction` 0.1 holds out"):
        load_pair_set("folder", "train", path)

    def drawn(seed):
        return [load_pair_set("folder", split, path, val_fraction=0.4, seed=seed).names for split in ("train", "val")]

    for train, val in map(drawn, range(5)):
        assert sorted(train + val) == ["a", "b", "c", *(f"d{number}" for number in range(7))] and 3 <= len(val) <= 5
        for pair_of in ({"d0", "d1"}, {"d2", "d3"}, {"d4", "d5"}):
            assert pair_of <= set(train) or pair_of <= set(val)
    assert drawn(3) == drawn(3) != drawn(4)
    assert "note: 3 of 10 images are copies of another one, by their content" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no split 'test': with `val_fraction` there are train and val"):
        load_pair_set("folder", "test", path, val_fraction=0.4)


def pairs_of(*names, **more):
    """An image of its own and a mask for each ``<folders>/images/<id>.png``."""
    files = dict(more)
    for number, name in enumerate(names):
        files[name] = encoded(np.full((6, 8, 3), number, dtype=np.uint8))
        files[name.replace("images/", "masks/").rsplit(".", 1)[0] + ".png"] = encoded(255 * MASKS["a"])
    return files


BY_FOLDER = {
    "splits hold images/": ("train/images/0.png", "train/images/1.png", "Valid/images/0.png"),
    "images/ holds splits": ("images/train/0.png", "images/train/1.png", "images/Valid/0.png"),
    "a folder around": ("set/train/images/0.png", "set/train/images/1.png", "set/Valid/images/0.png"),
}


@pytest.mark.parametrize("kind", BY_FOLDER)
def test_splits_by_folder(place, capsys, kind):
    path = place(pairs_of(*BY_FOLDER[kind]))
    assert load_pair_set("folder", "train", path).names == ("train/0", "train/1")
    assert load_pair_set("folder", "test", path).names == load_pair_set("folder", "val", path).names == ("Valid/0",)
    assert "for val the images in Valid are taken" in capsys.readouterr().err
    with pytest.raises(UsageError, match="`val_fraction` 0.5: .* has images for val, train, leave it out"):
        load_pair_set("folder", "train", path, val_fraction=0.5)


def test_images_in_folders_and_of_every_kind_are_pairs(tmp_path, capsys):
    names = ["images/a/0.png", "images/b/0.GIF", "images/b/1.webp", "images/2.ppm"]
    path = write(tmp_path / "set", {**pairs_of(*names), "README.txt": b"see\nLICENSE", "images/note.md": b"x"})
    parts = [load_pair_set("folder", split, path, val_fraction=0.25).names for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == ["2", "a/0", "b/0", "b/1"]
    assert f"note: {path}: left out: files with other endings: 1 (images/note.md)" in capsys.readouterr().err
    assert "write one with one id per line; or `val_fraction`" in message_of(load_pair_set, "folder", "train", path)
    assert "val_fraction" not in message_of(load_pair_set, "sirst", "train", path)
    write(path, {"part.txt": b"a/0\nb/1\n"})
    assert load_pair_set("folder", "part", path).names == ("a/0", "b/1")
    assert "has lists (part), leave it out" in message_of(load_pair_set, "folder", "train", path, val_fraction=0.5)


def test_images_in_two_lists_are_told(tmp_path):
    files = {**pairs_of("images/0.png", "images/1.png", "images/2.png", "images/3.png"), "train.txt": b"0\n1\n2"}
    files.update({"images/3.png": files["images/2.png"], "val.txt": b"1\n3", "test.txt": b"3"})
    path = write(tmp_path, files)
    train, val, test = (load_pair_set("folder", split, path) for split in ("train", "val", "test"))
    assert val.shared_with(train) == ("2 of 2 validation images are in training as well, by their content, such as 1")
    assert test.shared_with(train).endswith("such as 3, which is 2")
    rest, held_out = train.hold_out(1)
    assert held_out.shared_with(rest) == ""


def test_a_fraction_of_a_folder_with_lists_is_refused(place):
    with pytest.raises(UsageError, match="`val_fraction` 0.5: .* has lists .train, val., leave it out"):
        load_pair_set("folder", "train", place(contents()), val_fraction=0.5)


def test_images_of_other_formats_and_lists_of_file_names(tmp_path):
    files = contents(images__a_at_png=None, images__a_at_jpg=encoded(PIXELS["a"], "JPEG"), train_at_txt=b"a.jpg\nb.png")
    got = load_pair_set("folder", "train", write(tmp_path, files))
    assert got.names == ("a", "b") and np.abs(got.pair(0)[0].mean() - PIXELS["a"].mean()) < 20


def palette_mask(*colours):
    image = Image.fromarray(MASKS["a"], "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize(
    "mask, expected",
    [
        (MASKS["a"], MASKS["a"]),
        (MASKS["a"].astype(bool), MASKS["a"]),
        (MASKS["a"].astype(np.uint16) * 65535, MASKS["a"]),
        (np.repeat(255 * MASKS["a"][..., None], 3, axis=2), MASKS["a"]),
        (palette_mask((0, 0, 0), (255, 255, 255)), MASKS["a"]),
        (palette_mask((255, 255, 255), (0, 0, 0)), 1 - MASKS["a"]),
        (palette_mask((0, 0, 0), (128, 0, 0)), MASKS["a"]),
        (np.dstack([*3 * [255 * MASKS["a"]], np.full((6, 8), 255, np.uint8)]), MASKS["a"]),
        (np.dstack([*3 * [255 * MASKS["a"]], RNG.integers(0, 255, (6, 8), np.uint8)]), MASKS["a"]),
        (np.dstack([*3 * [np.full((6, 8), 200, np.uint8)], 255 * MASKS["a"]]), MASKS["a"]),
    ],
    ids=["0 and 1", "1 bit", "16 bits", "RGB", "palette", "upside down", "colours", "RGBA", "transparent", "opacity"],
)
def test_masks_of_every_mode(tmp_path, mask, expected):
    path = write(tmp_path, contents(masks__a_at_png=encoded(mask)))
    got = load_pair_set("folder", "train", path).pair(0)[1]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_masks_saved_as_jpeg_are_halved(tmp_path, mode):
    large = np.zeros((40, 60), np.uint8)
    large[10:30, 20:44] = 255
    noisy = encoded(Image.fromarray(large).convert(mode), "JPEG", quality=80)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(noisy))))) > 2
    image = encoded(np.zeros((40, 60, 3), np.uint8))
    files = contents(masks__a_at_png=None, masks__a_at_jpg=noisy, images__a_at_png=image)
    got = load_pair_set("folder", "train", write(tmp_path, files)).pair(0)[1]
    assert np.count_nonzero(got != (large > 0)) <= 8 and set(np.unique(got)) == {0, 1}


def test_masks_of_several_classes(tmp_path):
    numbers = np.arange(48, dtype=np.uint8).reshape(6, 8) % 4
    numbers[0, :3] = 255
    coloured = Image.fromarray(numbers, "P")
    coloured.putpalette([(37 * i) % 256 for i in range(768)])
    files = {"masks__a_at_png": encoded(numbers), "masks__b_at_png": encoded(coloured), "masks__c_at_png": None}
    path = write(tmp_path, contents(**files, classes_at_txt=b"ground\ncat\ndog\neel\n"))
    got = load_pair_set("folder", "train", path, classes=4)
    assert got.classes == 4 and got.class_names == ("ground", "cat", "dog", "eel") == got.subset(1, 0).class_names
    for i in range(2):
        np.testing.assert_array_equal(got.pair(i)[1], numbers)
    assert got.foreground[0] == pytest.approx(((numbers > 0) & (numbers < 255)).mean())
    for options, message in (
        ({"classes": 3}, "has the values 0, 1, 2, 3, 255: expected class numbers, 0 to 2, and 255"),
        ({"classes": 5}, "classes.txt has 4 names for 5 classes"),
        ({}, "for class numbers give `classes` 4"),
    ):
        assert message in message_of(load_pair_set, "folder", "train", path, **options)


def test_values_between_count_from_the_threshold_on(tmp_path):
    mask = encoded(np.where(MASKS["a"], 200, GREY // 2).astype(np.uint8))
    path = write(tmp_path, contents(masks__a_at_png=mask))
    assert "a.png has the values" in message_of(load_pair_set, "folder", "train", path)
    got = load_pair_set("folder", "train", path, mask_threshold=128)
    np.testing.assert_array_equal(got.pair(0)[1], MASKS["a"])


def test_a_rim_counts_as_neither(tmp_path):
    rim = MASKS["a"].copy()
    rim[0] = 255
    path = write(tmp_path, contents(masks__a_at_png=encoded(rim)))
    got = load_pair_set("folder", "train", path, mask_ignore=255)
    np.testing.assert_array_equal(got.pair(0)[1], rim)
    np.testing.assert_array_equal(
        got.subset(2, 0).pair(0)[1], got.pair(list(got.names).index(got.subset(2, 0).names[0]))[1]
    )
    assert got.foreground[0] == pytest.approx((rim == 1).mean())


ONE_BIT = [Image.fromarray(MASKS[name].astype(bool)) for name in "ab"]
UNMARKED = {
    "0 and 255, 2 classes": (
        [255 * MASKS["a"], 255 * MASKS["b"]],
        {"classes": 2},
        "with `classes` 2 255 does not count",
    ),
    "1 bit, 2 classes": (ONE_BIT, {"classes": 2}, "leave it out for masks of foreground and background, or save class"),
    "0 and 255, 255 ignored": (
        [255 * MASKS["a"], 255 * MASKS["b"]],
        {"mask_ignore": 255},
        "with `mask_ignore` 255 does",
    ),
}


@pytest.mark.parametrize("case", UNMARKED)
def test_masks_whose_object_would_count_nowhere_are_refused(tmp_path, case):
    masks, options, message = UNMARKED[case]
    path = write(tmp_path, contents(masks__a_at_png=encoded(masks[0]), masks__b_at_png=encoded(masks[1])))
    told = message_of(load_pair_set, "folder", "train", path, **options)
    assert f"no mask of folder train ({path}) marks anything: they hold 0 and 255 alone" in told and message in told


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_turned_photographs_are_named(tmp_path, capsys, kind):
    image = Image.fromarray(np.zeros((8, 6, 3), np.uint8))  # its mask is 8 wide
    exif = image.getexif()
    exif[0x0112] = 6
    path = write(tmp_path, contents(images__a_at_png=encoded(image, kind, exif=exif)))
    load_pair_set("folder", "train", path)
    told = capsys.readouterr().err
    assert "images/a.png is 6x8, but its mask a.png 8x6, turned; the mask is resized" in told
    assert "images/a.png has a camera's note on orientation (EXIF, 6): pixels are read as they are stored" in told
    write(path, contents(images__a_at_png=encoded(image, "TIFF", exif=exif)))  # Pillow turns these
    load_pair_set("folder", "train", path)
    assert capsys.readouterr().err == ""
    exif[0x0112] = 1
    write(tmp_path / "upright", contents(images__a_at_png=encoded(image.resize((8, 6)), kind, exif=exif)))
    load_pair_set("folder", "train", tmp_path / "upright")
    assert capsys.readouterr().err == ""


NOT_KEPT = {"masks__b_at_png": None, "masks__b_at_jpg": encoded(MASKS["b"], "JPEG")}
BAD = {
    "value 7": ({"masks__b_at_png": encoded(7 * MASKS["b"])}, "masks/b.png has the values 0, 7: a mask .* `classes` 8"),
    "value 128": ({"masks__b_at_png": encoded(128 * MASKS["b"])}, "masks/b.png has the values 0, 128: a mask"),
    "1 and 255": (
        {"masks__b_at_png": encoded(np.array([[0, 1, 255]], dtype=np.uint8))},
        "masks/b.png has the values 0, 1, 255: a mask",
    ),
    "coloured": ({"masks__b_at_png": encoded(RED)}, "masks/b.png is coloured, expected a grey mask"),
    "coloured classes": ({"masks__b_at_png": encoded(RED)}, "is coloured, expected class numbers, 0 to 1", 2),
    "JPEG classes": (NOT_KEPT, "is a JPEG, which does not keep class numbers: save it as PNG", 2),
    "empty mask": ({"masks__b_at_png": b""}, r"masks/b.png is empty \(0 bytes\)"),
    "empty image": ({"images__b_at_png": b""}, r"images/b.png is empty \(0 bytes\)"),
    "no image": ({"masks__b_at_png": b"hello"}, r"masks/b.png cannot be read as an image \(unknown format\)"),
    "cut short": ({"masks__b_at_png": contents()["masks/b.png"][:60]}, "masks/b.png cannot be read as an image"),
    "image missing": ({"images__b_at_png": None}, "train.txt lists b, but .*images has no b.png"),
    "mask missing": ({"masks__b_at_png": None}, "train.txt lists b, but .*masks has no b.png or b_pixels0.png"),
    "image twice": ({"images__b_at_jpg": b"x"}, "images has b.jpg and b.png: which is it"),
    "listed twice": ({"train_at_txt": b"a\nb\na\n"}, "train.txt lists a more than once"),
    "empty list": ({"train_at_txt": b"\n"}, "train.txt is empty"),
    "binary list": ({"train_at_txt": b"\xff\xfe\x00"}, "train.txt is not text"),
    "no list": ({"train_at_txt": None}, "folder has no split 'train': .* has no train.txt or .*, choose one of val"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(place, case):
    changed, message, *classes = BAD[case]
    path = place(contents(**changed))
    with pytest.raises(GluonAFFError, match=message) as caught:
        load_pair_set("folder", "train", path, classes=classes[0] if classes else 1)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_such_set(place, tmp_path):
    message = message_of(load_pair_set, "folder", "train", place({"train.txt": b"a"}))
    assert "expected images/, masks/ and <split>.txt in it, found train.txt" in message
    (tmp_path / "text.zip").write_bytes(b"hello")
    assert "neither a folder nor a whole zip archive" in message_of(
        load_pair_set, "folder", "train", tmp_path / "text.zip"
    )
