"""COCO in miniature: polygons, run lengths, crowds, the index, downloads from this machine, and what goes wrong."""

import functools
import http.server
import io
import json
import os
import shutil
import sys
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from gluon_aff.data import load_pair_set
from gluon_aff.data.pairs import coco, coco_index
from gluon_aff.errors import GluonAFFError, UsageError

pytest.importorskip("pycocotools")

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
    from pycocotools import mask as rle

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
    content = io.BytesIO()
    Image.new("L" if number == 3 else "RGB", size, 40 * number).save(content, "JPEG")
    return content.getvalue()


def contents(annotations=None):
    files = {JSON: json.dumps(annotations or instances()).encode()}
    files.update({f"train2017/{i:012d}.jpg": jpeg(i) for i in range(1, 5)})
    return files


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "coco", contents())


def error_of(*arguments, **options):
    with pytest.raises(GluonAFFError) as caught:
        load_pair_set("coco", *arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


@pytest.mark.parametrize("name", ["coco", "stopsign"])
@pytest.mark.parametrize("split", ["train", "train2017"])
def test_polygons_run_lengths_and_crowds_become_one_mask(root, name, split):
    assert is_whole(load_pair_set(name, split, root))


def test_every_layout(tmp_path, root):
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


def test_val_and_test_are_val2017(tmp_path):
    files = {name.replace("train2017", "val2017"): content for name, content in contents().items()}
    for split in ("val", "test", "val2017"):
        got = load_pair_set("coco", split, write(tmp_path, files))
        assert got.note.endswith("of 4 images in val2017")


def test_another_category(root):
    got = load_pair_set("coco", "train", root, category="person")
    assert got.names == ("000000000004",) and got.pair(0)[1].sum() == 81
    assert load_pair_set("coco", "train", root).names == ("000000000001", "000000000002", "000000000003")


# The index -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def built(monkeypatch):
    """Counts how often the json is parsed."""
    count = []
    parse = coco_index._parsed
    monkeypatch.setattr(coco_index, "_parsed", lambda *arguments: count.append(1) or parse(*arguments))
    return count


def test_index_is_kept_beside_the_json_and_made_anew_when_that_changes(root, built):
    for _ in range(2):
        assert is_whole(load_pair_set("coco", "train", root))
    assert len(built) == 1 and (root / "annotations" / "instances_train2017.stop-sign.index.json").exists()
    changed = instances()
    changed["annotations"] = changed["annotations"][1:]
    (root / JSON).write_text(json.dumps(changed))
    assert load_pair_set("coco", "train", root).names == ("000000000002", "000000000003")
    assert len(built) == 2


def test_same_size_but_written_later_counts_as_changed(root, built):
    load_pair_set("coco", "train", root)
    (root / JSON).write_bytes((root / JSON).read_bytes().replace(b"000001.jpg", b"000004.jpg"))
    os.utime(root / JSON, ns=(1, 1))
    assert load_pair_set("coco", "train", root).names[0] == "000000000004" and len(built) == 2


def test_a_damaged_index_is_made_anew(root, built):
    load_pair_set("coco", "train", root)
    for damage in ("", "{", '{"state": 1}', "[]"):
        (root / "annotations" / "instances_train2017.stop-sign.index.json").write_text(damage)
        assert is_whole(load_pair_set("coco", "train", root))
    assert len(built) == 5


def test_index_of_a_zip_lies_in_mxnet_home(tmp_path, built, own_mxnet_home):
    path = write_zip(tmp_path / "a.zip", contents())
    for _ in range(2):
        assert is_whole(load_pair_set("coco", "train", path))
    assert len(built) == 1 and len(list((own_mxnet_home / "gluon_aff" / "coco").iterdir())) == 1
    changed = instances()
    changed["annotations"] = changed["annotations"][1:]
    write_zip(path, contents(changed))
    assert len(load_pair_set("coco", "train", path)) == 2 and len(built) == 2


def test_index_goes_to_mxnet_home_where_its_place_cannot_be_written(root, built, own_mxnet_home, monkeypatch):
    real = coco_index.atomic_write

    def refuse(path):
        if root in path.parents:
            raise GluonAFFError("read only")
        return real(path)

    monkeypatch.setattr(coco_index, "atomic_write", refuse)
    for _ in range(2):
        assert is_whole(load_pair_set("coco", "train", root))
    assert len(built) == 1 and list((own_mxnet_home / "gluon_aff" / "coco").iterdir())


def test_a_damaged_index_is_made_again(root, built):
    load_pair_set("coco", "train", root)
    (index,) = root.glob("annotations/*.index.json")
    whole = index.read_text()
    stored = json.loads(whole)
    entries = stored["index"]["images"]
    damaged = [
        whole[:-20],
        "[" * 100_000,
        "5",
        json.dumps({**stored, "index": 5}),
        json.dumps({**stored, "index": {**stored["index"], "images": [{**entries[0], "file": [1]}]}}),
        json.dumps({**stored, "index": {**stored["index"], "images": [{**entries[0], "file": "../../x.jpg"}]}}),
        json.dumps({**stored, "index": {**stored["index"], "total": 5}}),
        json.dumps({**stored, "index": {**stored["index"], "images": entries[1:]}}),
    ]
    for count, text in enumerate(damaged, 2):
        index.write_text(text)
        assert is_whole(load_pair_set("coco", "train", root))
        assert len(built) == count and index.read_text() == whole


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
    "no name but a path": (broken("images", file_name="../../x.jpg"), "expected a name without folders"),
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
    assert not list(root.glob("annotations/*index*"))


@pytest.mark.parametrize(
    "segmentation, reason",
    [
        ({"size": [3, 3], "counts": [9]}, "run lengths for .3, 3., expected .12, 16."),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 5]}, "run lengths of 10 pixels, expected 192"),
        ({"counts": [5, 5]}, "'size'"),
        ([["a", "b", "c", "d", "e", "f"]], ""),
        (7, ""),
    ],
)
def test_broken_segmentation_is_named(root, segmentation, reason):
    (root / JSON).write_bytes(broken("annotations", segmentation=segmentation))
    got = load_pair_set("coco", "train", root)
    with pytest.raises(GluonAFFError, match=rf"has a segmentation of 000000000001.jpg that is invalid \(.*{reason}"):
        got.pair(0)


def test_polygons_of_two_points_are_no_area(root):
    (root / JSON).write_bytes(broken("annotations", segmentation=[[1, 1, 5, 5]]))
    assert load_pair_set("coco", "train", root).pair(0)[1].sum() == 0


def test_absent_category_has_near_names(root):
    for category, hint in (
        ("stop", "do you mean stop sign?"),
        ("Person", "do you mean person?"),
        ("zebra", "choose one of its 3, person, stop sign, car"),
    ):
        message = error_of("train", root, category=category)
        assert f"has no category {category!r}: {hint}" in message


def test_missing_annotations_and_unknown_split(root):
    message = error_of("val", root)
    assert "expected annotations/instances_val2017.json or annotations/annotations_trainval2017.zip" in message
    assert "found instances_train2017.json" in message
    with pytest.raises(UsageError, match="coco has no split 'trainval': choose one of train, val, test, train2017"):
        load_pair_set("coco", "trainval", root)


def test_missing_image_is_noticed_at_once(root):
    (root / "train2017" / "000000000002.jpg").unlink()
    assert "1 of the 3 images with a stop sign are not in" in error_of("train", root)
    assert "such as 000000000002.jpg: --download fetches them" in error_of("train", root)


def test_image_of_another_size_is_named(root):
    (root / "train2017" / "000000000001.jpg").write_bytes(jpeg(1, (8, 8)))
    with pytest.raises(GluonAFFError, match="000000000001.jpg is 8x8, the annotations are for 16x12"):
        load_pair_set("coco", "train", root).pair(0)


def test_without_pycocotools_the_message_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert r"pip install 'gluon_aff[coco]'" in error_of("train", root)


# Downloading, from a server on this machine --------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves the folder it is given; ``asked`` lists the paths, and ``at_once`` how many were open together."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            with lock:
                asked.append(self.path)
                running.append(1)
                most[0] = max(most[0], len(running))
            try:
                super().do_GET()
            finally:
                with lock:
                    running.pop()

    lock, asked, running, most = threading.Lock(), [], [], [0]
    folder = tmp_path / "served"
    folder.mkdir()
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    made.folder, made.asked, made.most = folder, asked, most
    made.home = f"http://127.0.0.1:{made.server_port}/"
    monkeypatch.setattr(coco, "HOME", made.home)
    yield made
    made.shutdown()
    made.server_close()
    thread.join(10)


def test_download_fetches_annotations_and_only_images_that_hold_the_category(server, tmp_path):
    files = contents()
    write_zip(server.folder / "annotations" / "annotations_trainval2017.zip", {JSON: files[JSON]})
    write(server.folder, {name: content for name, content in files.items() if name != JSON})
    root = tmp_path / "new" / "coco"
    assert is_whole(load_pair_set("coco", "train", root, download=True))
    assert sorted(server.asked) == [
        "/annotations/annotations_trainval2017.zip",
        *(f"/train2017/{i:012d}.jpg" for i in (1, 2, 3)),
    ]
    assert is_whole(load_pair_set("coco", "train", root, download=True)) and len(server.asked) == 4
    assert is_whole(load_pair_set("coco", "train", root))


def test_download_goes_on_where_it_stopped(server, root):
    write(server.folder, {f"train2017/{i:012d}.jpg": jpeg(i) for i in (1, 3)})
    shutil.rmtree(root / "train2017")
    message = error_of("train", root, download=True)
    assert "cannot download 000000000002.jpg" in message and "404" in message
    write(server.folder, {"train2017/000000000002.jpg": jpeg(2)})
    before = len(server.asked)
    assert is_whole(load_pair_set("coco", "train", root, download=True))
    assert "/train2017/000000000002.jpg" in server.asked[before:] and len(server.asked) - before <= 3


def test_download_follows_the_address_in_the_json_and_checks_what_comes(server, root):
    write(server.folder, {"elsewhere/1.jpg": jpeg(1), "elsewhere/bad.jpg": jpeg(1, (8, 8)), "text.jpg": b"sorry"})
    image = root / "train2017" / "000000000001.jpg"
    for url, message in (
        (f"{server.home}elsewhere/bad.jpg", "8x8, the annotations are for 16x12"),
        (f"{server.home}text.jpg", "cannot be read as an image"),
        (image.as_uri(), "expected http or https"),
    ):
        (root / JSON).write_bytes(broken("images", coco_url=url))
        image.unlink() if image.exists() else None
        assert message in error_of("train", root, download=True)
        assert not image.exists()
    (root / JSON).write_bytes(broken("images", coco_url=f"{server.home}elsewhere/1.jpg"))
    assert is_whole(load_pair_set("coco", "train", root, download=True))


def test_at_most_eight_at_a_time(server, tmp_path):
    made = instances()
    first = made["images"][0]
    made["images"] = [{**first, "id": i, "file_name": f"{i:012d}.jpg"} for i in range(40)]
    sign = made["annotations"][0]
    made["annotations"] = [{**sign, "image_id": i} for i in range(40)]
    write(server.folder, {f"train2017/{i:012d}.jpg": jpeg(1) for i in range(40)})
    root = write(tmp_path / "coco", {JSON: json.dumps(made).encode()})
    assert len(load_pair_set("coco", "train", root, download=True)) == 40
    assert 1 <= server.most[0] <= 8 and len(server.asked) == 40


def test_downloading_into_a_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", contents())
    assert "is a file: downloading needs a folder" in error_of("train", path, download=True)
