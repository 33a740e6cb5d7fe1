import threading

import numpy as np
import pytest

from gluon_aff.data import PairSet, list_datasets, load_pair_set
from gluon_aff.errors import UsageError


def made_up(count=5, side=10, read=None):
    def numbered(name):
        return np.full((side, side, 3), int(name), dtype=np.uint8), np.zeros((side, side), dtype=np.uint8)

    return PairSet("made-up", "memory", [str(i) for i in range(count)], read or numbered, note="5 images")


def test_pairs_are_read_when_asked_for_and_kept():
    asked = []

    def read(name):
        asked.append(name)
        return np.zeros((4, 4, 3), dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8)

    made = made_up(read=read)
    assert asked == [] and len(made) == 5
    first = made.pair(3)
    assert made.pair(3)[0] is first[0] and asked == ["3"]


def test_no_more_is_kept_than_the_limit():
    few = made_up()
    made = PairSet(few.name, few.source, few.names, few.read, cache_bytes=2 * 4 * 100)
    kept = [made.pair(i)[0] is made.pair(i)[0] for i in range(5)]
    assert kept == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("image", "mask", "told"),
    [
        (np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), r"the image is float64 \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), r"the image is uint8 \(4, 4\)"),
        (
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((4, 5), np.uint8),
            r"the mask is uint8 \(4, 5\), expected uint8 \(4, 4\)",
        ),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), "the mask is float64"),
        (np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8), "the mask holds 255, expected 0 and 1 only"),
    ],
)
def test_pairs_that_someone_else_reads_are_checked(image, mask, told):
    with pytest.raises(UsageError, match=rf"0 of made-up \(memory\): {told}"):
        made_up(read=lambda name: (image, mask)).pair(0)


def test_what_is_kept_cannot_be_written_to():
    for pixels in made_up().pair(0):
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 1


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


@pytest.mark.parametrize("n", [0, 6])
def test_a_subset_that_cannot_be(n):
    with pytest.raises(UsageError, match=f"cannot take {n} images of made-up: choose 1 to 5"):
        made_up().subset(n, seed=0)


def test_names_of_the_data_sets():
    assert list_datasets(masks=True) == ["sirst", "coco", "folder", "shapes"]


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
    ],
)
def test_what_cannot_be_asked_for(arguments, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_pair_set(*arguments, **options)
    assert "\n" not in str(caught.value)
