"""Images per update: from recipe, options and devices to parts, rounds and one line that says it."""

from argparse import Namespace

import mxnet as mx
import pytest

from gluon_aff.errors import UsageError
from gluon_aff.runtime import devices
from gluon_aff.tasks.train import describe_update, find_devices, share


def options(**changes):
    plain = {"batch_size": 128, "accumulate": 1, "recipe": None, "gpus": None, "update_parts": None}
    return Namespace(**{**plain, "batch_as_given": False, **changes})


def contexts(count):
    return [mx.cpu(number) for number in range(count)]


@pytest.mark.parametrize(
    ("parts", "found", "used", "rounds"),
    [
        (None, 1, 1, 1),
        (None, 3, 3, 1),
        (4, 1, 1, 4),
        (4, 2, 2, 2),
        (4, 3, 2, 2),
        (4, 8, 4, 1),
        (3, 2, 1, 3),
        (1, 2, 1, 1),
    ],
)
def test_parts_are_shared_by_the_devices(parts, found, used, rounds):
    assert share(options(update_parts=parts), contexts(found)) == (contexts(used), rounds)
    assert share(options(update_parts=parts, batch_as_given=True), contexts(found)) == (contexts(found), 1)


def test_processes_share_evenly_or_not_at_all():
    assert share(options(update_parts=4), contexts(1), ranks=2) == (contexts(1), 2)
    with pytest.raises(UsageError, match="4 parts cannot be shared evenly by 3 devices: give --update-parts 3"):
        share(options(update_parts=4), contexts(1), ranks=3)


def line(found=1, ranks=1, **changes):
    chosen = options(**changes)
    return describe_update(chosen, *share(chosen, contexts(found), ranks), found, ranks)


def test_one_line_says_it():
    assert line() == "images per update: 128, 1 x 128 on 1 device"
    assert line(2) == "images per update: 256, 2 x 128 on 2 devices"
    assert line(accumulate=3) == "images per update: 384, 1 x 128 on 1 device, 3 batches"
    assert line(update_parts=4) == (
        "images per update: 512, 4 x 128 as on 4 devices: on 1 device 4 parts one after another, each normalised by "
        "itself"
    )
    assert line(4, update_parts=4) == "images per update: 512, 4 x 128 on 4 devices"
    assert line(3, update_parts=4) == (
        "images per update: 512, 4 x 128 as on 4 devices: on 2 devices of 3 2 parts one after another, each normalised "
        "by itself"
    )
    assert line(update_parts=4, batch_as_given=True) == (
        "images per update: 128, 1 x 128 on 1 device (--batch-as-given; else it would be 4 x 128)"
    )
    assert line(gpus="0,1,2,3") == (
        "images per update: 128, 1 x 128 on 1 device (--gpus 0,1,2,3 would make it 4 x 128, and so does "
        "--update-parts 4 here)"
    )


def test_more_gpus_than_there_are_is_answered(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    monkeypatch.setattr(devices.cuda, "capabilities", lambda: [])
    with pytest.raises(UsageError) as caught:
        find_devices(options(gpus="0,1,2,3"))
    assert str(caught.value) == (
        "--gpus 0,1,2,3: no GPU 2 here, GPUs 0 to 1 are available: type --gpus 0,1; --update-parts 4 beside it makes "
        "updates of as many images, part after part"
    )
    with pytest.raises(UsageError, match="type --gpus 0,1; the recipe then makes updates of as many"):
        find_devices(options(gpus="0,1,2,3", update_parts=4))
    with pytest.raises(UsageError, match="expected distinct GPU numbers such as '0' or '0,1', or '' for the CPU$"):
        find_devices(options(gpus="0,0"))
