"""Every reader of foreign bytes, with a file it reads, damaged in all the ways that hypothesis thinks of: it is read or
refused in one line, within time and memory.

    python tests/faults/test_readers.py FOLDER EXAMPLES SEED READER [READER ...]

runs in a process of its own with limited memory, and prints one JSON line for each reader: how many damaged inputs were
refused, how many were read, and the slowest. It ends with 1 at the first input that a reader neither reads nor refuses
with an error of ours in one line, or that takes longer than `SECONDS`; the input is kept as FOLDER/found.
"""

import bz2
import contextlib
import copy
import gzip
import io
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import gluon_aff  # noqa: F401

import mxnet as mx  # isort: skip
import numpy as np
from PIL import Image

from gluon_aff import facts, published
from gluon_aff.comparison import open_curve, read_csv
from gluon_aff.data.cifar import load_cifar
from gluon_aff.data.coco import load_coco
from gluon_aff.data.decoding import decode_image, decode_mask
from gluon_aff.data.folder import load_folder
from gluon_aff.data.imagenet import TreeSource, read_ground_truth
from gluon_aff.data.pairs import load_pair_folder
from gluon_aff.data.records import RecordFile, check_records, pack, record_info
from gluon_aff.data.trees import open_file_tree
from gluon_aff.errors import GluonAFFError
from gluon_aff.launching import read_hosts
from gluon_aff.tasks import get_task
from gluon_aff.tasks.config import read_yaml
from gluon_aff.tasks.opening import read_run
from gluon_aff.training.checkpoint import read_checkpoint, write_checkpoint, write_document
from gluon_aff.training.history import History

SECONDS = 5  # of computing
WAITING = 60  # by the clock: the machine may be busy with other things
MEMORY = 3 << 30  # address space beyond what the process has after its imports

# ---- damage


NUMBERS = [b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"9" * 20, b"-1", b"1e999", b"{"]


def damaged_bytes(whole):
    """A strategy: ``whole`` with one to four of: bytes changed, cut out, inserted, doubled, the end gone."""
    place = st.integers(0, len(whole))
    length = st.one_of(st.integers(0, 16), st.integers(0, len(whole)))
    new = st.one_of(st.binary(max_size=12), st.sampled_from(NUMBERS))
    change = st.tuples(st.sampled_from(["set", "cut", "insert", "twice", "end"]), place, length, new)

    def apply(changes):
        data = bytearray(whole)
        for kind, at, count, new in changes:
            if kind == "set":
                data[at : at + len(new)] = new
            elif kind == "cut":
                del data[at : at + count]
            elif kind == "insert":
                data[at:at] = new
            elif kind == "twice":
                data[at:at] = data[at : at + count]
            else:
                del data[at:]
        return bytes(data)

    return st.one_of(st.lists(change, min_size=1, max_size=4).map(apply), st.binary(max_size=64))


ODD = [None, True, -1, 0, 1.5, 2**70, float("nan"), float("inf"), 1e300, "", "é", "../x", "a" * 5000, [], {}]
ODD += [[[]]]


def damaged_document(whole):
    """A strategy: a copy of a document of lists and dictionaries in which one to three values are others or gone."""

    def places(value, path=()):
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, child in items:
            yield from places(child, (*path, key))

    change = st.tuples(st.sampled_from(list(places(whole))[1:]), st.sampled_from([*ODD, "delete", "deep"]))

    def apply(changes):
        document = copy.deepcopy(whole)
        for path, new in changes:
            parent = document
            try:
                for key in path[:-1]:
                    parent = parent[key]
                if new == "delete":
                    del parent[path[-1]]
                else:
                    parent[path[-1]] = json.loads("[" * 900 + "]" * 900) if new == "deep" else copy.deepcopy(new)
            except (KeyError, IndexError, TypeError):
                pass  # an earlier change took its place away
        return document

    return st.lists(change, min_size=1, max_size=3).map(apply)


def damaged_json(whole):
    """Both kinds of damage to JSON text."""
    texts = damaged_document(whole).map(lambda document: json.dumps(document).encode())
    deep = st.just(b"[" * 100_000)
    return st.one_of(texts, texts, damaged_bytes(json.dumps(whole).encode()), deep)


# ---- inputs


def image_bytes(kind="PNG", number=0, mode="RGB"):
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels).convert(mode), kind)


def mask_bytes():
    return encoded(Image.fromarray(np.eye(12, dtype=np.uint8) * 255), "PNG")


def encoded(image, kind):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def clean(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class Reader(NamedTuple):
    """``strategy`` gives damaged inputs, ``read(folder, input)`` reads one."""

    strategy: object
    read: object


READERS = {}


def reader(name):
    def register(make):
        READERS[name] = make
        return make

    return register


def of_file(name, whole, read):
    """A reader of one file: ``whole`` is its content, the document of its JSON, or a strategy for damaged ones."""
    strategy = damaged_bytes(whole) if isinstance(whole, bytes) else whole
    strategy = damaged_json(whole) if isinstance(whole, (dict, list)) else strategy

    def write_and_read(folder, content):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        read(path)

    return Reader(strategy, write_and_read)


def lines(records):
    """Records as JSON lines."""
    return "".join(json.dumps(r) + "\n" for r in (records if isinstance(records, list) else [records])).encode()


def archive(kind):
    stream = io.BytesIO()
    files = {"train/a/1.png": image_bytes(), "test/b/2.png": image_bytes(number=1)}
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def read_tree(path):
    tree = open_file_tree(path)
    folders = [""]
    for place in folders:
        folders += [f"{place}/{name}".strip("/") for name in tree.folders(place)][:20]
        for name in tree.files(place)[:20]:
            with contextlib.suppress(GluonAFFError):
                tree.read(f"{place}/{name}".strip("/"))
        if len(folders) > 50:
            break


LOG = (
    b"INFO:root:Namespace(lr=0.2, lr_decay_epoch='300,450', model='resnet', num_epochs=3, askc_type='ASKCFuse')\n"
    b"INFO:root:[Epoch 0] train=0.1 val=0.2 loss=1.0 lr: 0.1 time: 3.0\n"
    b"INFO:root:[Epoch 1] validation: err-top1=0.5 err-top5=0.1\n"
    b"INFO:root:[Epoch 1] train=0.1 val=0.3 loss=1.0 lr: 0.1 time: 3.0\n"
)
TRUTH = b"ILSVRC2012_val_00000001.JPEG 3\nILSVRC2012_val_00000002.JPEG n0002\n"
CURVE = b"epoch,accuracy\n0,0.1\n1,0.2\n"
TARS = [gzip.compress(archive("tar")), bz2.compress(archive("tar")), gzip.compress(bytes(3 << 20))]

#: Readers of a file that needs nothing beside it: its name, what is in it, and what reads it.
PLAIN = {
    "the authors' logs": ("a.log", LOG, lambda path: open_curve(str(path))),
    "tables of curves": ("a.csv", CURVE, lambda path: (read_csv(path), open_curve(str(path)))),
    "lists of classes": ("val.txt", TRUTH, lambda path: read_ground_truth(path, [f"n{n:04d}" for n in range(10)])),
    "host files": ("hosts", b"localhost:2\nuser@127.0.0.1 # here\n", read_hosts),
    "zips": ("a.zip", archive("zip"), read_tree),
    "tars": ("a.tar", archive("tar"), read_tree),
    "packed tars": (
        "cifar.tar.gz",
        st.sampled_from(TARS).flatmap(damaged_bytes),
        lambda path: load_cifar("cifar10", "train", path, download_missing=False),
    ),
}
for _name, _plain in PLAIN.items():
    READERS[_name] = lambda folder, plain=_plain: of_file(*plain)


@reader("weight files")
def weight_files(folder):
    net = gluon_aff.create_model("cifar_aff_resnet8", channel_times=1, classes=10)
    net.save_parameters(str(folder / "whole.params"))

    def read(path):
        with contextlib.suppress(GluonAFFError):
            published.load(path, net)
        container = published.read_container(path)
        list(container.read_all(container.arrays))
        published.recognise(container)

    return of_file("a.params", (folder / "whole.params").read_bytes(), read)


def checkpoint(folder):
    state = {"task": "cifar", "epoch": 3, "best": None}
    write_checkpoint(clean(folder / "c"), {"model": {"x": mx.nd.ones((2, 40))}}, state)
    return folder / "c"


@reader("checkpoints' arrays")
def checkpoint_arrays(folder):
    whole = (checkpoint(folder) / "model.params").read_bytes()
    return of_file("c/model.params", whole, lambda path: read_checkpoint(path.parent))


@reader("checkpoints' state")
def checkpoint_state(folder):
    whole = json.loads((checkpoint(folder) / "state.json").read_text())
    return of_file("c/state.json", whole, lambda path: read_checkpoint(path.parent))


@reader("runs' states")
def run_states(folder):
    """States with a digest of their own, as somebody's program may write them."""
    options = {"blocks": 1, "fusion": "aff", "channel_times": 1}
    state = {"format": 2, "task": "cifar", "epoch": 1, "options": options, "files": {}}

    def read(folder, document):
        place = clean(folder / "r" / "best")
        (place.parent / "config.yaml").write_text("fusion: aff\n")
        if isinstance(document, dict):
            write_document(place / "state.json", document)
            with contextlib.suppress(GluonAFFError):
                read_checkpoint(place)
            read_run(place)

    return Reader(damaged_document({**state, "data": {"name": "digits", "classes": 10}}), read)


def packed(folder):
    for name in ("a", "b"):
        place = clean(folder / "images" / name)
        for number in range(3):
            (place / f"{number}.jpg").write_bytes(image_bytes("JPEG", number))
    path = clean(folder / "p") / "out.rec"
    pack(TreeSource(folder / "images", (), None, "train"), path)
    return path


def read_records(path):
    for options in ({}, {"strict": False}, {"indexed": False, "strict": False}):
        with contextlib.suppress(GluonAFFError):
            file = RecordFile(path, **options)
            for number in range(len(file)):
                with contextlib.suppress(GluonAFFError):
                    file.label(number)
    with contextlib.suppress(GluonAFFError):
        check_records(path)
    record_info(path)


@reader("records")
def records(folder):
    return of_file("p/out.rec", packed(folder).read_bytes(), read_records)


@reader("records' indexes")
def record_indexes(folder):
    path = packed(folder)
    index = path.with_suffix(".idx").read_bytes()
    return of_file("p/out.idx", index, lambda _: (RecordFile(path), read_records(path)))


@reader("records' manifests")
def record_manifests(folder):
    path = packed(folder)
    manifest = json.loads(path.with_suffix(".manifest.json").read_text())
    return of_file("p/out.manifest.json", manifest, lambda _: read_records(path))


BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@reader("CIFAR in pickles")
def cifar_pickles(folder):
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}
    labels = (5, [1], [1, 2**70], [1, -1], [1, None], "ab", [[1], [2]], [True, 1.0])
    arrays = (5, None, np.zeros((2, 5), np.uint8), np.zeros((2, 3072)), [[1]])
    odd = [{**batch, b"labels": value} for value in labels] + [{**batch, b"data": value} for value in arrays]
    names = [{b"label_names": value} for value in (5, [1], list(range(10)), None)] + [5, {}]

    def dumped(values):
        return st.sampled_from(values).map(lambda value: pickle.dumps(value, protocol=2))

    def read(folder, content):
        place = clean(folder / "cifar-10-batches-py")
        for name in BATCHES:
            (place / name).write_bytes(content[0])
        (place / "batches.meta").write_bytes(content[1])
        load_cifar("cifar10", "train", folder, download_missing=False)

    batches = st.one_of(dumped([*odd, {}, [], 5, None]), damaged_bytes(pickle.dumps(batch, protocol=2)))
    return Reader(st.tuples(batches, dumped(names)), read)


@reader("CIFAR in binary")
def cifar_binary(folder):
    def read(folder, content):
        place = clean(folder / "cifar-10-batches-bin")
        for name in BATCHES:
            (place / f"{name}.bin").write_bytes(content)
        load_cifar("cifar10", "test", folder, download_missing=False)

    return Reader(damaged_bytes((bytes([3]) + bytes(range(256)) * 12) * 2), read)


@reader("images and masks")
def images_and_masks(folder):
    def read(folder, content):
        for opencv in (False, True):
            with contextlib.suppress(GluonAFFError):
                decode_image(content, "a", opencv=opencv)
        decode_mask(content, "a")

    wholes = st.sampled_from([mask_bytes(), image_bytes("JPEG"), image_bytes("TIFF"), image_bytes("GIF", mode="P")])
    return Reader(wholes.flatmap(damaged_bytes), read)


def class_images(folder, content):
    for split in ("train", "test"):
        for name, data in (("a", content), ("b", image_bytes())):
            (folder / "images" / split / name).mkdir(parents=True, exist_ok=True)
            (folder / "images" / split / name / "1.png").write_bytes(data)
    return load_folder(folder / "images", "train", 8).images


@reader("folders of classes")
def class_folders(folder):
    kinds = [("PNG", "RGB"), ("JPEG", "RGB"), ("GIF", "P"), ("BMP", "L"), ("PPM", "L"), ("WEBP", "RGBA")]
    wholes = st.sampled_from([image_bytes(kind, mode=mode) for kind, mode in kinds])
    return Reader(wholes.flatmap(damaged_bytes), class_images)


@reader("decoded images kept")
def decoded_cache(folder):
    whole = class_images(folder, image_bytes())
    place = next(folder.rglob("cache/*.npz"))

    def read(path):
        assert np.array_equal(load_folder(folder / "images", "train", 8).images, whole), "a damaged cache was believed"

    return of_file(str(place.relative_to(folder)), place.read_bytes(), read)


@reader("folders of pairs")
def pair_folders(folder):
    def read(folder, content):
        mask, names = content
        root = folder / "pairs"
        for kind, data in (("images", image_bytes()), ("masks", mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / "a.png").write_bytes(data)
        (root / "train.txt").write_bytes(names)
        load_pair_folder(root, "train").pair(0)

    return Reader(st.tuples(damaged_bytes(mask_bytes()), st.one_of(st.just(b"a\n"), damaged_bytes(b"a\n"))), read)


SHAPES = [
    {"segmentation": [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]], "iscrowd": 0},
    {"segmentation": {"size": [12, 12], "counts": [100, 44]}, "iscrowd": 1},
    {"segmentation": {"size": [12, 12], "counts": "PPYo0"}, "iscrowd": 1},
]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 12, "width": 12, "coco_url": ""}],
    "annotations": [{"id": n, "image_id": 1, "category_id": 13, **shape} for n, shape in enumerate(SHAPES, 1)],
    "categories": [{"id": 13, "name": "stop sign"}],
}


@reader("COCO's json")
def coco(folder):
    (folder / "coco" / "train2017").mkdir(parents=True)
    (folder / "coco" / "train2017" / "a.jpg").write_bytes(image_bytes("JPEG"))

    def read(path):
        load_coco(folder / "coco", "train").pair(0)

    return of_file("coco/annotations/instances_train2017.json", COCO, read)


@reader("config.yaml")
def config(folder):
    task = get_task("cifar")
    whole = {name: task.parser().defaults()[name] for name in ("lr", "blocks", "mixup", "fusion")}
    texts = damaged_document({**whole, "lr_decay_epoch": [1, 2]}).map(lambda value: json.dumps(value).encode())
    multiplying = [b"%c: &%c [*%c,*%c]\n" % (98 + i, 98 + i, 97 + i, 97 + i) for i in range(22)]
    bombs = st.sampled_from([b"a: &a [x,x]\n" + b"".join(multiplying), b"[" * 5000])
    strategy = st.one_of(texts, damaged_bytes(yaml.safe_dump(whole).encode()), bombs)
    return of_file("config.yaml", strategy, lambda path: task.parser().checked(read_yaml(path), "config.yaml"))


_EPOCH = {"record": "epoch", "train": 0.1, "train_metric": "accuracy", "val": 0.2, "loss": 1.0, "lr": 0.1, "time": 1.0}
_OPTIONS = {"num_epochs": 2, "lr": 0.1}
HISTORY = [
    {"record": "header", "task": "cifar", "options": _OPTIONS, "data": {"name": "digits"}, "threads": "1"},
    *({**_EPOCH, "epoch": epoch, "images": 5, "val_images": 5} for epoch in (0, 1)),
]


@reader("history.jsonl")
def history(folder):
    def read(path):
        content = path.read_bytes()
        with contextlib.suppress(GluonAFFError):
            History(path).resume(1, {})
        path.write_bytes(content)
        assert open_curve(str(path)).points

    strategy = st.one_of(damaged_document(HISTORY).map(lines), damaged_bytes(lines(HISTORY)))
    return of_file("h/history.jsonl", strategy, read)


@reader("facts")
def all_facts(folder):
    """The tables of params/, read from a copy of which one is damaged."""
    shutil.copytree(facts.params_directory(), folder / "params", ignore=shutil.ignore_patterns("*.params"))
    whole = (folder / "params" / "sirst.json").read_bytes()

    def read(path):
        facts.params_directory = lambda: folder / "params"
        facts.published_runs(), facts.paper_tables(), facts.sirst_figures()

    return of_file("params/sirst.json", whole, read)


# ---- the child


class TooSlow(BaseException):
    pass


def limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def ring(signum, frame):
    raise TooSlow(f"longer than {SECONDS} s")


def try_out(name, folder, examples, number):
    counts = {"reader": name, "refused": 0, "read": 0, "slowest": 0.0}
    made = READERS[name](clean(folder))
    last = []

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(made.strategy)
    def run(content):
        last[:] = [content]
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WAITING)
        try:
            made.read(folder, content)
            counts["read"] += 1
        except GluonAFFError as error:
            counts["refused"] += 1
            assert str(error).strip() and "\n" not in str(error) and "Traceback" not in str(error), str(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            counts["slowest"] = max(counts["slowest"], round(time.process_time() - begin, 3))

    try:
        run()
    except BaseException:
        content = last[0] if last else b""
        (folder.parent / "found").write_bytes(content if isinstance(content, bytes) else repr(content).encode())
        raise
    return counts


def main():
    folder, examples, number, *names = sys.argv[1:]
    folder = Path(folder)
    os.environ["MXNET_HOME"] = str(folder / "at" / "home")
    signal.signal(signal.SIGALRM, ring)
    signal.signal(signal.SIGPROF, ring)
    limit_memory()
    for name in names or READERS:
        print(f"... {name}", file=sys.stderr, flush=True)
        print(json.dumps(try_out(name, folder / "at", int(examples), int(number))), flush=True)


def tried(folder, examples, seed, *readers):
    """The counts of each reader; the readers run in a process of their own, so that a crash ends that one."""
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(examples), str(seed), *readers],
        env={**os.environ, "PYTHONPATH": str(Path(gluon_aff.__file__).resolve().parents[1])},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"code {done.returncode}; the input is in {folder}/found\n{done.stderr[-4000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def count(counted, results):
    for result in results:
        counted("damaged inputs", "refused", result["refused"])
        counted("damaged inputs", "read", result["read"])
        assert result["slowest"] < SECONDS


def test_a_sample_of_damaged_files(tmp_path, counted):
    results = tried(tmp_path, 6, 1)
    assert [result["reader"] for result in results] == list(READERS)
    count(counted, results)
    assert sum(result["refused"] for result in results) > 50


@pytest.mark.faults
@pytest.mark.parametrize("name", list(READERS))
def test_damaged_files(tmp_path, counted, name):
    count(counted, tried(tmp_path, 150, 2, name))


def test_a_reader_that_fails_is_found(tmp_path, monkeypatch):
    """The campaign itself: an error that is not ours, or a hang, ends it."""
    monkeypatch.setitem(READERS, "failing", lambda folder: of_file("a", b"abc", lambda path: {}["missing"]))
    with pytest.raises(KeyError, match="missing"):
        try_out("failing", tmp_path / "at", 5, 1)
    assert (tmp_path / "found").exists()


if __name__ == "__main__":
    main()
