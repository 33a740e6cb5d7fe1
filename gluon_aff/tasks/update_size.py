"""How many images make an update, and how the devices at hand share them."""

from __future__ import annotations

from argparse import Namespace
from typing import List, NamedTuple, Optional

import mxnet as mx

from ..errors import UsageError
from ..runtime import devices


class Share(NamedTuple):
    """The devices that an update is trained on, and how many parts one after another each of them has."""

    devices: List[mx.Context]
    rounds: int


def wanted_parts(options: Namespace) -> Optional[int]:
    """Parts of ``--batch-size`` images that an update is to have; None: one for each device."""
    return None if getattr(options, "batch_as_given", False) else getattr(options, "update_parts", None)


def find_devices(options: Namespace) -> List[mx.Context]:
    """What ``--gpus`` means here. Raises UsageError that says what to type, see `devices.pick`."""
    try:
        return devices.pick(options.gpus)
    except devices.NoSuchGPU as error:
        count = len((options.gpus or "").split(","))
        if count < 2:
            raise
        parts = "the recipe then makes" if wanted_parts(options) else f"--update-parts {count} beside it makes"
        raise UsageError(f"{error}; {parts} updates of as many images, part after part") from None


def share(options: Namespace, found: List[mx.Context], ranks: int = 1) -> Share:
    """How an update's parts lie on ``found``, the devices of each of ``ranks`` processes.

    A single process leaves devices idle where the parts do not divide by them. Raises UsageError where several
    processes cannot share them evenly.
    """
    parts = wanted_parts(options)
    if parts is None:
        return Share(found, 1)
    if ranks == 1:
        used = max(count for count in range(1, min(parts, len(found)) + 1) if parts % count == 0)
        return Share(found[:used], parts // used)
    total = len(found) * ranks
    if parts % total:
        raise UsageError(
            f"an update of {parts} parts cannot be shared evenly by {total} devices: give --update-parts {total}, or "
            f"--batch-as-given, for updates of {total} parts"
        )
    return Share(found, parts // total)


def describe(options: Namespace, shared: Share, found: int, ranks: int = 1) -> str:
    """One line on the images per update, and whether they make up for devices that are not here."""
    used, size = len(shared.devices) * ranks, options.batch_size
    parts = used * shared.rounds
    images = f"images per update: {parts * size * options.accumulate}"
    on = f"{used} device{'s' if used > 1 else ''}" + (f" of {found}" if used < found * ranks else "")
    batches = f", {options.accumulate} batches" if options.accumulate > 1 else ""
    if shared.rounds > 1:
        return (
            f"{images}, {parts} x {size} as on {parts} devices: on {on} {shared.rounds} parts one after another, each "
            f"normalised by itself{batches}"
        )
    stated, asked = getattr(options, "update_parts", None), len((options.gpus or "").split(","))
    note = ""
    if stated and wanted_parts(options) is None:
        note = f" (--batch-as-given; else it would be {stated} x {size})"
    elif not stated and asked > found * ranks:
        note = f" (--gpus {options.gpus} would make it {asked} x {size}, and so does --update-parts {asked} here)"
    return f"{images}, {used} x {size} on {on}{batches}{note}"
