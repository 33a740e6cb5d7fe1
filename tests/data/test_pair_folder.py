"""Images, masks and lists in folders and zips: every mode, SIRST's layout, and what goes wrong."""

import io
import multiprocessing
import zipfile

import numpy as np
import pytest
from PIL import Image

from gluon_aff.data import load_pair_set
from gluon_aff.errors import GluonAFFError, UsageError

RNG = np.random.default_rng(0)
PIXELS = {name: RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8) for name in "abc"}
SPLITS = ("train", "val")
MASKS = {name: RNG.integers(0, 2, (6, 8), dtype=np.uint8) for name in "abc"}


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(content, kind, **options)
    return content.getvalue()


def contents(ending="", lists="", **changed):
    """{name: bytes}; ``changed`` replaces files by names in which / is __ and . is _at_, None removes them."""
    files = {f"{lists}train.txt": b"a\nb\n", f"{lists}val.txt": b"c\n"}
    for name in "abc":
        files[f"images/{name}.png"] = encoded(PIXELS[name])
        files[f"masks/{name}{ending}.png"] = encoded(255 * MASKS[name])
    for name, content in changed.items():
        files[name.replace("__", "/").replace("_at_", ".")] = content
    return {name: content for name, content in files.items() if content is not None}


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture(params=["folder", "zip"])
def place(request, tmp_path):
    """Writes the files into a folder or a zip and returns it."""

    def write_zip(files):
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return tmp_path / "set.zip"

    return write_zip if request.param == "zip" else lambda files: write(tmp_path / "set", files)


def pair(name, image=None, mask=None, dataset="folder", split="train", **options):
    """The first pair of a set written with another first image or mask."""
    changed = {} if image is None else {"images__a_at_png": image}
    changed.update({} if mask is None else {"masks__a_at_png": mask})
    return load_pair_set(dataset, split, write(name, contents(**changed)), **options).pair(0)


def error_of(*arguments, **options):
    with pytest.raises(GluonAFFError) as caught:
        load_pair_set(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


def test_sirst_layout_lists_in_its_own_folder(place):
    got = load_pair_set("sirst", "val", place(contents("_pixels0", lists="idx_427/")))
    assert got.names == ("c",)
    np.testing.assert_array_equal(got.pair(0)[1], MASKS["c"])


def test_sirst_pair_of_two_sizes_is_named_and_its_mask_resized(place, capsys):
    large = np.repeat(np.repeat(255 * MASKS["b"], 2, axis=0), 2, axis=1)
    got = load_pair_set("sirst", "train", place(contents("_pixels0", masks__b_pixels0_at_png=encoded(large))))
    noted = capsys.readouterr().err
    assert "images/b.png is 8x6, but its mask b_pixels0.png 16x12; the mask is resized" in noted
    assert noted.count("\n") == 1
    np.testing.assert_array_equal(got.pair(1)[1], MASKS["b"])


def test_a_folders_mask_of_another_size_is_treated_as_sirsts(place, capsys):
    got = load_pair_set("folder", "train", place(contents(masks__b_at_png=encoded(np.ones((3, 4), np.uint8)))))
    assert "b.png is 8x6, but its mask b.png 4x3; the mask is resized to the image" in capsys.readouterr().err
    assert got.pair(1)[1].shape == (6, 8) and got.pair(1)[1].all()


def test_a_folder_without_lists_is_split_by_the_seed(place, capsys):
    files = {name: content for name, content in contents().items() if not name.endswith(".txt")}
    for number in range(7):
        files[f"images/d{number}.png"] = encoded(np.full((6, 8, 3), number // 2, dtype=np.uint8))  # d0 and d1 are alike
        files[f"masks/d{number}.png"] = encoded(255 * MASKS["a"])
    path = place(files)
    with pytest.raises(UsageError, match="write one with one id per line; or --val-fraction 0.1 holds out"):
        load_pair_set("folder", "train", path)
    drawn = {
        seed: [load_pair_set("folder", split, path, val_fraction=0.4, seed=seed).names for split in SPLITS]
        for seed in range(9)
    }
    for train, val in drawn.values():
        assert sorted(train + val) == ["a", "b", "c", *(f"d{number}" for number in range(7))] and 3 <= len(val) <= 5
        for pair_of in ({"d0", "d1"}, {"d2", "d3"}, {"d4", "d5"}):
            assert pair_of <= set(train) or pair_of <= set(val)
    assert len({val for _, val in drawn.values()}) > 3
    assert "note: 3 of 10 images are copies of another one, by their content" in capsys.readouterr().err
    assert load_pair_set("folder", "val", path, val_fraction=0.4, seed=3).names == drawn[3][1]
    with pytest.raises(UsageError, match="no split 'test': with --val-fraction there are train and val"):
        load_pair_set("folder", "test", path, val_fraction=0.4)


def test_a_fraction_of_a_folder_with_lists_is_refused(place):
    with pytest.raises(UsageError, match="--val-fraction 0.5: .* has lists .train, val., leave it out"):
        load_pair_set("folder", "train", place(contents()), val_fraction=0.5)


def test_masks_without_foreground_are_counted(tmp_path, capsys):
    black = encoded(np.zeros((6, 8), dtype=np.uint8))
    load_pair_set("folder", "train", write(tmp_path, contents(masks__a_at_png=black)))
    assert capsys.readouterr().err == "note: 1 of 2 masks of folder train hold no foreground\n"


GREY = PIXELS["a"][..., 0]
RED = PIXELS["a"].copy()
RED[..., 1:] = 0


def palette_image():
    return Image.fromarray(PIXELS["a"]).quantize(8)


@pytest.mark.parametrize(
    "image, expected",
    [
        (Image.fromarray(GREY), np.repeat(GREY[..., None], 3, axis=2)),
        (Image.fromarray(np.dstack([PIXELS["a"], GREY])), PIXELS["a"]),
        (Image.fromarray(np.dstack([GREY, GREY[::-1]]), "LA"), np.repeat(GREY[..., None], 3, axis=2)),
        (palette_image(), np.asarray(palette_image().convert("RGB"))),
        (Image.fromarray(GREY.astype(np.uint16) * 256 + 77), np.repeat(GREY[..., None], 3, axis=2)),
        (Image.fromarray(GREY > 99), np.repeat(np.uint8(255) * (GREY > 99)[..., None], 3, axis=2)),
    ],
    ids=["L", "RGBA", "LA", "P", "I;16", "1"],
)
def test_images_of_every_mode(tmp_path, image, expected):
    np.testing.assert_array_equal(pair(tmp_path, image=encoded(image))[0], expected)


def test_images_of_other_formats_and_lists_of_file_names(tmp_path):
    files = contents(images__a_at_png=None, images__a_at_jpg=encoded(PIXELS["a"], "JPEG"), train_at_txt=b"a.jpg\nb.png")
    got = load_pair_set("folder", "train", write(tmp_path, files))
    assert got.names == ("a", "b") and np.abs(got.pair(0)[0].mean() - PIXELS["a"].mean()) < 20


def palette_mask(*colours):
    image = Image.fromarray(MASKS["a"], "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize(
    "mask, inverted",
    [
        (MASKS["a"], False),
        (MASKS["a"].astype(bool), False),
        (MASKS["a"].astype(np.uint16) * 65535, False),
        (np.repeat(255 * MASKS["a"][..., None], 3, axis=2), False),
        (palette_mask((0, 0, 0), (255, 255, 255)), False),
        (palette_mask((255, 255, 255), (0, 0, 0)), True),
        (palette_mask((0, 0, 0), (128, 0, 0)), False),
        (np.dstack([*3 * [255 * MASKS["a"]], np.full((6, 8), 255, np.uint8)]), False),
        (np.dstack([*3 * [255 * MASKS["a"]], np.random.default_rng(0).integers(0, 255, (6, 8), np.uint8)]), False),
        (np.dstack([*3 * [np.full((6, 8), 200, np.uint8)], 255 * MASKS["a"]]), False),
    ],
    ids=[
        "0 and 1",
        "1 bit",
        "16 bits",
        "RGB",
        "palette",
        "palette upside down",
        "palette of colours",
        "RGBA",
        "transparent",
        "opacity alone",
    ],
)
def test_masks_of_every_mode(tmp_path, mask, inverted):
    got = pair(tmp_path, mask=encoded(mask))[1]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, 1 - MASKS["a"] if inverted else MASKS["a"])


@pytest.mark.parametrize("dataset, ending, lists", [("folder", "", ""), ("sirst", "_pixels0", "idx_427/")])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_masks_have_one_rule(tmp_path, mode, dataset, ending, lists):
    large = np.zeros((40, 60), np.uint8)
    large[10:30, 20:44] = 255
    noisy = encoded(Image.fromarray(large).convert(mode), "JPEG", quality=80)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(noisy))))) > 2
    files = contents(ending, lists)
    files.pop(f"masks/a{ending}.png")
    image = encoded(np.zeros((40, 60, 3), np.uint8))
    path = write(tmp_path, {**files, f"masks/a{ending}.jpg": noisy, "images/a.png": image})
    got = load_pair_set(dataset, "train", path).pair(0)[1]
    assert np.count_nonzero(got != (large > 0)) <= 8 and set(np.unique(got)) == {0, 1}


def test_masks_of_several_classes(tmp_path):
    numbers = np.arange(48, dtype=np.uint8).reshape(6, 8) % 4
    numbers[0, :3] = 255
    coloured = Image.fromarray(numbers, "P")
    coloured.putpalette([(37 * i) % 256 for i in range(768)])
    files = {"masks__a_at_png": encoded(numbers), "masks__b_at_png": encoded(coloured), "masks__c_at_png": None}
    path = write(tmp_path, contents(**files, classes_at_txt=b"ground\ncat\ndog\neel\n"))
    got = load_pair_set("folder", "train", path, classes=4)
    assert got.classes == 4 and got.class_names == ("ground", "cat", "dog", "eel")
    assert got.subset(1, 0).class_names == got.class_names
    for place in range(2):
        np.testing.assert_array_equal(got.pair(place)[1], numbers)
    assert got.foreground[0] == pytest.approx(((numbers > 0) & (numbers < 255)).mean())
    with pytest.raises(GluonAFFError, match="has the values 0, 1, 2, 3, 255: expected class numbers, 0 to 2, and 255"):
        load_pair_set("folder", "train", path, classes=3)
    with pytest.raises(GluonAFFError, match="classes.txt has 4 names for 5 classes"):
        load_pair_set("folder", "train", path, classes=5)
    with pytest.raises(GluonAFFError, match="for class numbers give --classes 4"):
        load_pair_set("folder", "train", path)
    with pytest.raises(UsageError, match="shapes marks foreground and background, leave it out"):
        load_pair_set("shapes", "train", classes=3)
    with pytest.raises(UsageError, match="leave it out, or --classes"):
        load_pair_set("folder", "train", path, classes=4, mask_threshold=9)


def test_class_numbers_that_a_file_does_not_keep(tmp_path):
    noisy, coloured = encoded(MASKS["a"], "JPEG"), encoded(RED)
    path = write(tmp_path, contents(masks__a_at_png=None, masks__a_at_jpg=noisy))
    with pytest.raises(GluonAFFError, match="is a JPEG, which does not keep class numbers: save it as PNG"):
        load_pair_set("folder", "train", path, classes=2)
    (path / "masks/a.jpg").unlink()
    (path / "masks/a.png").write_bytes(coloured)
    with pytest.raises(GluonAFFError, match="is coloured, expected class numbers, 0 to 1"):
        load_pair_set("folder", "train", path, classes=2)


def test_values_between_count_from_the_threshold_on(tmp_path):
    mask = encoded(np.where(MASKS["a"], 200, GREY // 2).astype(np.uint8))
    assert "a.png has the values" in error_of("folder", "train", write(tmp_path, contents(masks__a_at_png=mask)))
    np.testing.assert_array_equal(pair(tmp_path, mask=mask, mask_threshold=128)[1], MASKS["a"])


BAD = {
    "value 7": ({"masks__b_at_png": encoded(7 * MASKS["b"])}, "masks/b.png has the values 0, 7: a mask .* --classes 8"),
    "value 128": ({"masks__b_at_png": encoded(128 * MASKS["b"])}, "masks/b.png has the values 0, 128: a mask"),
    "1 and 255": (
        {"masks__b_at_png": encoded(np.array([[0, 1, 255]], dtype=np.uint8))},
        "masks/b.png has the values 0, 1, 255: a mask",
    ),
    "coloured": ({"masks__b_at_png": encoded(RED)}, "masks/b.png is coloured, expected a grey mask"),
    "empty mask": ({"masks__b_at_png": b""}, r"masks/b.png is empty \(0 bytes\)"),
    "empty image": ({"images__b_at_png": b""}, r"images/b.png is empty \(0 bytes\)"),
    "no image": ({"masks__b_at_png": b"hello"}, r"masks/b.png cannot be read as an image \(unknown format\)"),
    "cut short": ({"masks__b_at_png": contents()["masks/b.png"][:60]}, "masks/b.png cannot be read as an image"),
    "image missing": ({"images__b_at_png": None}, "train.txt lists b, but .*images has no b.png"),
    "mask missing": ({"masks__b_at_png": None}, "train.txt lists b, but .*masks has no b.png"),
    "image twice": ({"images__b_at_jpg": b"x"}, "images has b.jpg and b.png: which is it"),
    "listed twice": ({"train_at_txt": b"a\nb\na\n"}, "train.txt lists a more than once"),
    "empty list": ({"train_at_txt": b"\n"}, "train.txt is empty"),
    "binary list": ({"train_at_txt": b"\xff\xfe\x00"}, "train.txt is not text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(place, case):
    changed, message = BAD[case]
    path = place(contents(**changed))
    with pytest.raises(GluonAFFError, match=message) as caught:
        load_pair_set("folder", "train", path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_split_file_lists_those_that_exist(place):
    with pytest.raises(
        UsageError, match="folder has no split 'test': there is no .*test.txt, choose one of train, val"
    ):
        load_pair_set("folder", "test", place(contents()))


def test_what_is_no_such_set(place, tmp_path):
    assert "expected images/, masks/ and <split>.txt in it, found train.txt" in error_of(
        "folder", "train", place({"train.txt": b"a"})
    )
    (tmp_path / "text.zip").write_bytes(b"hello")
    assert "neither a folder nor a whole zip archive" in error_of("folder", "train", tmp_path / "text.zip")


def test_damage_inside_a_zip_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in contents().items():
            archive.writestr(name, content)
    content = bytearray((tmp_path / "set.zip").read_bytes())
    where = content.index(contents()["masks/a.png"]) + 50
    content[where] ^= 255
    (tmp_path / "set.zip").write_bytes(content)
    assert "set.zip/masks/a.png" in error_of("folder", "train", tmp_path / "set.zip")


def _same_as_here(got, expected, failures):
    for _ in range(10):
        for i, pixels in enumerate(expected):
            if not np.array_equal(got.read(got.names[i])[0], pixels):
                failures.value += 1


def test_forked_processes_read_one_zip(tmp_path):
    """As the workers of Gluon's DataLoader do: the position in an open file is shared by parent and children."""
    names = [f"n{i}" for i in range(20)]
    large = {name: np.random.default_rng(i).integers(0, 256, (64, 64, 3)) for i, name in enumerate(names)}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("train.txt", "\n".join(names))
        for name, pixels in large.items():
            archive.writestr(f"images/{name}.png", encoded(pixels.astype(np.uint8)))
            archive.writestr(f"masks/{name}.png", encoded(np.zeros((64, 64), dtype=np.uint8)))
    got = load_pair_set("folder", "train", tmp_path / "set.zip")
    context = multiprocessing.get_context("fork")
    failures = context.Value("i", 0)
    children = [context.Process(target=_same_as_here, args=(got, large.values(), failures)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0] and failures.value == 0
