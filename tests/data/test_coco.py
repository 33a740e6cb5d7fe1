"""COCO in miniature: polygons, run lengths, crowds, downloads, and what goes wrong."""

import json
import shutil
import sys

import numpy as np
import pytest
from image_files import encoded, message_of, write, write_zip
from PIL import Image

from gluon_aff.data import coco, load_pair_set
from gluon_aff.data.coco import draw_mask
from gluon_aff.errors import GluonAFFError

rle = pytest.importorskip("pycocotools.mask")

HEIGHT, WIDTH = 12, 16
JSON = "annotations/instances_train2017.json"


def square(left, top, side):
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def run_lengths(mask):
    """Uncompressed: lengths of zeros and ones in turn, column by column."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *ends, len(flat)]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": lengths if flat[0] == 0 else [0, *lengths]}


def packed(mask):
    made = rle.encode(np.asfortranarray(mask))
    return {"size": [int(side) for side in made["size"]], "counts": made["counts"].decode("ascii")}


CROWD = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
CROWD[3:7, 10:14] = 1
CORNER = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
CORNER[:2, :3] = 1


def instances(**changed):
    """Images 1 to 4: two polygons of one instance; a polygon and a crowd; packed run lengths; no stop sign."""
    signs = [
        (1, [square(1, 1, 3), square(9, 5, 4)], 0),
        (2, [square(1, 1, 3)], 0),
        (2, run_lengths(CROWD), 1),
        (3, packed(CORNER), 0),
    ]
    annotations = [
        {"id": i, "image_id": image, "category_id": 13, "segmentation": segmentation, "iscrowd": crowd}
        for i, (image, segmentation, crowd) in enumerate(signs)
    ]
    annotations.append({"id": 9, "image_id": 4, "category_id": 1, "segmentation": [square(0, 0, 9)], "iscrowd": 0})
    return {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(1, 5)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}, {"id": 3, "name": "car"}],
        **changed,
    }


def jpeg(number, size=(WIDTH, HEIGHT)):
    return encoded(Image.new("L" if number == 3 else "RGB", size, 40 * number), "JPEG")


def contents(annotations=None):
    files = {JSON: json.dumps(annotations or instances()).encode()}
    files.update({f"train2017/{i:012d}.jpg": jpeg(i) for i in range(1, 5)})
    return files


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "coco", contents())


def is_whole(got):
    assert got.names == ("000000000001", "000000000002", "000000000003")
    assert got.note == "stop sign: 3 images, 4 instances of 4 images in train2017"
    polygons = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    polygons[1:4, 1:4] = 1
    crowd = polygons | CROWD
    polygons[5:9, 9:13] = 1
    for i, expected in enumerate([polygons, crowd, CORNER]):
        image, mask = got.pair(i)
        np.testing.assert_array_equal(mask, expected)
        assert mask.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
        assert abs(int(image[0, 0, 0]) - 40 * (i + 1)) < 3
    return True


def test_every_layout_and_name(tmp_path, root):
    for name in ("coco", "stopsign"):
        for split in ("train", "train2017"):
            assert is_whole(load_pair_set(name, split, root))
    files = contents()
    assert is_whole(load_pair_set("coco", "train", root.parent))  # one folder further up
    assert is_whole(load_pair_set("coco", "train", write_zip(tmp_path / "a.zip", files)))
    in_folder = {f"top/{name}": content for name, content in files.items()}
    assert is_whole(load_pair_set("coco", "train", write_zip(tmp_path / "b.zip", in_folder)))
    in_images = {name.replace("train2017/", "images/train2017/"): content for name, content in files.items()}
    assert is_whole(load_pair_set("coco", "train", write(tmp_path / "c", in_images)))
    annotations = {JSON: files.pop(JSON)}
    for folder in ("d", "e/annotations"):
        write_zip(tmp_path / folder / "annotations_trainval2017.zip", annotations)
        assert is_whole(load_pair_set("coco", "train", write(tmp_path / folder[0], files)))


def test_val_and_test_are_val2017_and_other_categories(tmp_path, root):
    val = write(tmp_path / "v", {name.replace("train2017", "val2017"): file for name, file in contents().items()})
    for split in ("val", "test", "val2017"):
        assert load_pair_set("coco", split, val).note.endswith("of 4 images in val2017")
    got = load_pair_set("coco", "train", root, category="person")
    assert got.names == ("000000000004",) and got.pair(0)[1].sum() == 81


def renamed(files, change=lambda made: None):
    """The set with other names of files, and its json changed."""
    made = instances()
    for entry, file in zip(made["images"], files):
        entry["file_name"] = file
    change(made)
    return made


def as_text(key, *names):
    def change(made):
        for entry in made[key]:
            entry.update({name: str(entry[name]) for name in names})

    return change


def as_floats(made):
    for entry in made["images"]:
        entry.update(height=float(HEIGHT), width=float(WIDTH))
    for entry in made["annotations"]:
        entry.update(image_id=float(entry["image_id"]))


STEMS = [f"{i:012d}" for i in range(1, 5)]
PLAIN = [f"{stem}.jpg" for stem in STEMS]
EXPORTED = {  # json, folder in which the files are named so, names of the images
    "two suffixes": (renamed(["a.jpg", "a.png", "b.jpg", "c.jpg"]), "train2017", ["a.jpg", "a.png", "b"]),
    "a name that another has": (
        renamed(["a.jpg", "a.png", "a.jpg.png", "c.jpg"]),
        "train2017",
        ["a.jpg", "a.png", "a.jpg.png"],
    ),
    "folders": (renamed(["a/1.jpg", "b/1.jpg", "./b\\2.jpg", "c.jpg"]), "train2017", ["a/1", "b/1", "2"]),
    "from the root on": (renamed([f"train2017/{file}" for file in PLAIN]), "", STEMS[:3]),
    "hidden": (renamed([".a.jpg", ".b/c.jpg", ".jpg", "d.jpg"]), "train2017", [".a", "c", ".jpg"]),
    "image ids as text": (renamed(PLAIN, as_text("images", "id")), "train2017", STEMS[:3]),
    "ids of annotations as text": (
        renamed(PLAIN, as_text("annotations", "image_id", "category_id")),
        "train2017",
        STEMS[:3],
    ),
    "category ids as text": (renamed(PLAIN, as_text("categories", "id")), "train2017", STEMS[:3]),
    "64.0": (renamed(PLAIN, as_floats), "train2017", STEMS[:3]),
}


@pytest.mark.parametrize("kind", EXPORTED)
@pytest.mark.parametrize("zipped", [False, True])
def test_what_exporters_write(tmp_path, capsys, kind, zipped):
    made, folder, names = EXPORTED[kind]
    named = [
        entry["file_name"].replace("\\", "/").replace("./", "") if kind == "folders" else entry["file_name"]
        for entry in made["images"]
    ]
    files = {f"{folder}/{name}".lstrip("/"): jpeg(i) for i, name in enumerate(named, 1)}
    files[JSON] = json.dumps(made).encode()
    root = write_zip(tmp_path / "a.zip", files) if zipped else write(tmp_path / "a", files)
    got = load_pair_set("coco", "train", root)
    assert list(got.names) == names and capsys.readouterr().err == ""
    assert [got.pair(i)[1].sum() for i in range(3)] == [25, 25, 6]
    assert [round(int(got.pair(i)[0][0, 0, 0]) / 40) for i in range(3)] == [1, 2, 3]


def two_entries(made):
    """Of image 2's file: the crowd belongs to another entry."""
    made["images"].append({**made["images"][1], "id": 20})
    made["annotations"][2]["image_id"] = 20


def two_categories(made):
    made["categories"].append({"id": 20, "name": "stop sign"})
    made["annotations"][0]["category_id"] = 20


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (two_entries, "000000000002.jpg has several entries, which are one image"),
        (two_categories, "2 categories are called 'stop sign' (ids 13, 20): all of them count"),
    ],
)
def test_what_is_one_thing_is_told(root, capsys, change, told):
    (root / JSON).write_text(json.dumps(renamed(PLAIN, change)))
    got = load_pair_set("coco", "train", root)
    assert capsys.readouterr().err == f"note: {root / JSON}: {told}\n"
    assert got.names == tuple(STEMS[:3]) and [got.pair(i)[1].sum() for i in range(3)] == [25, 25, 6]
    assert "stop sign: 3 images, 4 instances" in got.note


# What goes wrong -----------------------------------------------------------------------------------------------------


def broken(key, **changed):
    """The instances with other values in the first entry of a list; None removes the value."""
    made = instances()
    made[key][0].update(changed)
    made[key][0] = {name: value for name, value in made[key][0].items() if value is not None}
    return json.dumps(made).encode()


BAD = {
    "cut short": (json.dumps(instances()).encode()[:300], r"train2017.json \(300 bytes\) is broken JSON \(.*column"),
    "not text": (b"\xff\xfe\xfd{", "is broken JSON"),
    "a list": (b"[]", "has no list 'images'"),
    "captions": (json.dumps({"images": [], "annotations": []}).encode(), "has no list 'categories'"),
    "no image id": (broken("annotations", image_id=None), "an image, annotation or category lacks 'image_id'"),
    "no height": (broken("images", height=None), "lacks 'height'"),
    "unknown image": (broken("annotations", image_id=77), "has annotations of image 77, which it does not list"),
    "no name but a path": (broken("images", file_name="../../x.jpg"), "expected a name, or a path below"),
    "an absolute name": (broken("images", file_name="/x.jpg"), "expected a name, or a path below"),
    "a folder": (broken("images", file_name="a/"), "expected a name, or a path below"),
    "one id, two files": (
        json.dumps(instances(images=[*instances()["images"], {**instances()["images"][0], "id": 2}])).encode(),
        "two images of id 2, 000000000002.jpg and 000000000001.jpg",
    ),
    "one file, two sizes": (
        broken("images", file_name="000000000002.jpg", width=17),
        "lists 000000000002.jpg as 17x12 and as 16x12 pixels: keep the entry that is right",
    ),
    "boxes alone": (
        broken("annotations", segmentation=[]),
        r"1 of 4 annotations of 'stop sign', in 1 of 3 images, are boxes alone \(.* would be black in the mask: draw",
    ),
    "empty polygons": (broken("annotations", segmentation=[[], []]), "1 of 4 annotations .* are boxes alone"),
    "no segmentation": (broken("annotations", segmentation=None), "1 of 4 annotations .* are boxes alone"),
    "a name that is a list": (broken("images", file_name=[1]), r"has the file name \[1\]"),
    "a name that is a number": (broken("images", file_name=7), "has the file name 7"),
    "an address that is a number": (broken("images", coco_url=7), "URL 7: expected text"),
    "an id that is a list": (broken("annotations", image_id=[1]), "an id or name of .* is invalid"),
    "a category that is a list": (broken("categories", name=["a"]), "an id or name of .* is invalid"),
    "a height of text": (broken("images", height="12"), "000000000001.jpg of 16x'12' pixels"),
    "a height of 0": (broken("images", height=0), "000000000001.jpg of 16x0 pixels"),
    "nested too deeply": (b"[" * 100_000, "is broken JSON"),
    "none left": (json.dumps(instances(annotations=[])).encode(), "none of the 4 images of .* holds a 'stop sign'"),
}


@pytest.mark.parametrize("case", BAD)
def test_broken_json_is_one_line(root, case):
    content, message = BAD[case]
    (root / JSON).write_bytes(content)
    with pytest.raises(GluonAFFError, match=message) as caught:
        load_pair_set("coco", "train", root)
    assert str(root / JSON) in str(caught.value) and "\n" not in str(caught.value)


def test_a_segmentation_that_is_broken_or_has_no_area(root):
    (root / JSON).write_bytes(broken("annotations", segmentation={"size": [HEIGHT, WIDTH], "counts": [5, 5]}))
    with pytest.raises(GluonAFFError, match=r"has a segmentation of 000000000001.jpg that is invalid \(.*of 10 pixels"):
        load_pair_set("coco", "train", root).pair(0)
    (root / JSON).write_bytes(broken("annotations", segmentation=[[1, 1, 5, 5]]))  # a polygon of two points
    assert load_pair_set("coco", "train", root).pair(0)[1].sum() == 0


@pytest.mark.parametrize(
    "split, category, told",
    [
        ("train", "stop", "has no category 'stop': did you mean stop sign?"),
        ("train", "Person", "has no category 'Person': did you mean person?"),
        ("train", "zebra", "has no category 'zebra': choose one of car, person, stop sign"),
        ("val", "stop sign", "annotations/annotations_trainval2017.zip, found instances_train2017.json"),
        ("trainval", "stop sign", "coco has no split 'trainval': choose one of train, val, test, train2017"),
    ],
)
def test_what_is_not_there(root, split, category, told):
    assert told in message_of(load_pair_set, "coco", split, root, category=category)


def test_an_image_that_is_missing_or_of_another_size_is_named(root):
    (root / "train2017" / "000000000001.jpg").write_bytes(jpeg(1, (8, 8)))
    with pytest.raises(GluonAFFError, match="000000000001.jpg is 8x8, the annotations are for 16x12"):
        load_pair_set("coco", "train", root).pair(0)
    (root / "train2017" / "000000000001.jpg").write_bytes(jpeg(1, (HEIGHT, WIDTH)))
    with pytest.raises(GluonAFFError, match=r"is 12x16, the annotations are for 16x12: its pixels lie on their side"):
        load_pair_set("coco", "train", root).pair(0)
    (root / "train2017" / "000000000002.jpg").unlink()
    message = message_of(load_pair_set, "coco", "train", root)
    assert "1 of the 3 images with a stop sign are not in" in message
    assert "such as 000000000002.jpg: `download` fetches them" in message


def test_without_pycocotools_the_message_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert r"pip install 'gluon_aff[coco]'" in message_of(load_pair_set, "coco", "train", root)


# Masks ---------------------------------------------------------------------------------------------------------------


SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]
BAD_SEGMENTATIONS = {
    "null": ([[None, *SQUARE[1:]]], "coordinate None"),
    "NaN": ("[[NaN, 1, 5, 1, 5, 5]]", "coordinate nan"),
    "infinity": ("[[Infinity, 1, 5, 1, 5, 5]]", "coordinate inf"),
    "1e300": ([[1e300, *SQUARE[1:]]], r"coordinate 1e\+300"),
    "a large integer": ([[10**400, *SQUARE[1:]]], "coordinate 1000"),
    "far outside": ([[-1000, *SQUARE[1:]]], "coordinate -1000"),
    "true": ([[True, *SQUARE[1:]]], "coordinate True"),
    "text": ([["1", *SQUARE[1:]]], "coordinate '1'"),
    "odd length": ([SQUARE[:7]], "polygon of 7 numbers"),
    "no polygon": ([1, 1, 5, 1, 5, 5], "the polygon 1, expected a list"),
    "a number": (7, "7, expected polygons or run lengths"),
    "no counts": ({"size": [HEIGHT, WIDTH]}, "run lengths without 'size' or 'counts'"),
    "another size": ({"size": [10**9, 10**9], "counts": [10**18]}, "run lengths for"),
    "negative run": ({"size": [HEIGHT, WIDTH], "counts": [-8, 200]}, "not whole numbers of at least 0"),
    "NaN run": ('{"size": [12, 16], "counts": [NaN, 192]}', "not whole numbers"),
    "too many pixels": ({"size": [HEIGHT, WIDTH], "counts": [10**12]}, "run lengths of 1000000000000 pixels"),
    "packed too many": ({"size": [HEIGHT, WIDTH], "counts": "ooooooo7"}, "run lengths of .* pixels, expected 192"),
    "packed, cut short": ({"size": [HEIGHT, WIDTH], "counts": "oooo"}, "cut short"),
    "packed, other characters": ({"size": [HEIGHT, WIDTH], "counts": "\x7f\u20ac"}, "packed run lengths with"),
}


@pytest.mark.parametrize("case", BAD_SEGMENTATIONS)
def test_nothing_invalid_gets_to_pycocotools(case, monkeypatch):
    """Its C code believes what it is given."""
    monkeypatch.setattr(rle, "frPyObjects", lambda *_: pytest.fail("it was called"))
    segmentation, message = BAD_SEGMENTATIONS[case]
    if isinstance(segmentation, str):
        segmentation = json.loads(segmentation)
    with pytest.raises(ValueError, match=message):
        draw_mask([segmentation], HEIGHT, WIDTH)


def test_a_polygon_may_reach_over_the_edge_and_instances_overlap():
    segmentations = [[[-3.5, -2, 30, -2, 30, 20, -3.5, 20]], packed(CORNER), run_lengths(CROWD)]
    assert draw_mask(segmentations[:1], HEIGHT, WIDTH).all() and draw_mask(segmentations, HEIGHT, WIDTH).max() == 1
    np.testing.assert_array_equal(draw_mask(segmentations[1:], HEIGHT, WIDTH), CORNER | CROWD)


@pytest.mark.parametrize("height, width, share", [(1, 1, 0.5), (59, 31, 0.02), (40, 57, 0.5), (700, 900, 0.98)])
def test_packed_run_lengths_are_those_pycocotools_packs(height, width, share):
    mask = (np.random.RandomState(0).random_sample((height, width)) < share).astype(np.uint8)
    mask[height // 7 : height // 2, width // 9 :] = 1  # long runs and large differences
    segmentation = {"size": [height, width], "counts": packed(mask)["counts"]}
    np.testing.assert_array_equal(draw_mask([segmentation], height, width), mask)


# Downloading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder in the place of COCO's home; ``asked`` lists what was fetched."""
    folder, asked = tmp_path / "served", []

    def download(url, path, verify):
        name = url.replace(coco.HOME, "")
        asked.append(name)
        if not (folder / name).exists():
            raise GluonAFFError(f"cannot download {path.name}: 404")
        verify(folder / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, path)

    monkeypatch.setattr(coco, "download", download)
    return folder, asked


def test_download_fetches_annotations_and_only_images_that_hold_the_category(served, tmp_path):
    (folder, asked), files = served, contents()
    write_zip(folder / "annotations/annotations_trainval2017.zip", {JSON: files.pop(JSON)})
    write(folder, files)
    root = tmp_path / "new" / "coco"
    assert is_whole(load_pair_set("coco", "train", root, download=True))
    images = [f"train2017/{i:012d}.jpg" for i in (1, 2, 3)]
    assert sorted(asked) == ["annotations/annotations_trainval2017.zip", *images]
    assert is_whole(load_pair_set("coco", "train", root, download=True)) and len(asked) == 4
    assert is_whole(load_pair_set("coco", "train", root))


def test_download_goes_on_where_it_stopped(served, root):
    folder, asked = served
    write(folder, {f"train2017/{i:012d}.jpg": jpeg(i) for i in (1, 3)})
    shutil.rmtree(root / "train2017")
    assert "cannot download 000000000002.jpg" in message_of(load_pair_set, "coco", "train", root, download=True)
    write(folder, {"train2017/000000000002.jpg": jpeg(2)})
    asked.clear()
    assert is_whole(load_pair_set("coco", "train", root, download=True))
    assert "train2017/000000000002.jpg" in asked and len(asked) <= 3


def test_download_follows_the_address_in_the_json_and_checks_what_comes(served, root):
    write(served[0], {"elsewhere/1.jpg": jpeg(1), "elsewhere/bad.jpg": jpeg(1, (8, 8)), "text.jpg": b"sorry"})
    image = root / "train2017" / "000000000001.jpg"
    image.unlink()
    for url, message in (
        (f"{coco.HOME}elsewhere/bad.jpg", "8x8, the annotations are for 16x12"),
        (f"{coco.HOME}text.jpg", "cannot be read as an image"),
        (image.as_uri(), "expected http or https"),
    ):
        (root / JSON).write_bytes(broken("images", coco_url=url))
        assert message in message_of(load_pair_set, "coco", "train", root, download=True) and not image.exists()
    (root / JSON).write_bytes(broken("images", coco_url=f"{coco.HOME}elsewhere/1.jpg"))
    assert is_whole(load_pair_set("coco", "train", root, download=True))


def test_downloading_into_a_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", contents())
    assert "is a file: downloading needs a folder" in message_of(load_pair_set, "coco", "train", path, download=True)
