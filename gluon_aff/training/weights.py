"""Weights that a run has left: where they are, and the descriptions beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from ..errors import GluonAFFError, UsageError
from ..utils.files import PathLike, digest_of_document, sha256_of
from .checkpoint import (
    DESCRIPTION_FORMAT,
    Checkpoints,
    Damaged,
    Description,
    description_path,
    read_state,
    weights_in,
)


def find_checkpoint(run: Path, which: str = "best") -> Optional[Path]:
    """Return the checkpoint that ``run`` is, or one of a run; None where it has none.

    ``which`` is "best", by validation, or the newest before there is a best; or "last", the newest. It does not matter
    for a checkpoint's own directory. Raises UsageError for another ``which``.
    """
    if which not in ("best", "last"):
        raise UsageError(f"which={which!r}: choose 'best' or 'last'")
    if (run / "state.json").is_file():
        return run
    if which == "best" and (run / "best").is_dir():
        return run / "best"
    return Checkpoints(run / "checkpoints", run / "best").newest()


def checkpoint_weights(run: Path, which: str = "best") -> Path:
    """Return the verified file of the weights of a run's checkpoint, the averaged ones where the run averages.

    Raises UsageError as `find_checkpoint` does, GluonAFFError when there is no checkpoint, or it is damaged.
    """
    place = find_checkpoint(run, which)
    if place is None:
        raise GluonAFFError(f"{run} is a directory without a checkpoint: expected a training run, or a .params file")
    weights = weights_in(place)
    if not weights.is_file() or sha256_of(weights) != read_state(place)["files"].get(weights.name):
        raise Damaged(place, f"{weights.name} is not what was written")
    return weights


def read_description(weights: PathLike) -> Optional[Description]:
    """Return what a weight file says of itself, verified; None where nothing of ours is beside it.

    Raises GluonAFFError when the file beside it is damaged, is of other weights, or of a format that this version does
    not know.
    """
    path = description_path(weights)
    if not path.is_file() or not Path(weights).is_file():
        return None
    remedy = f"remove {path.name} to use the weights as a file of which nothing is known"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GluonAFFError(f"{path} cannot be read ({error}): restore it, or {remedy}") from None
    if not isinstance(document, dict) or "weights_sha256" not in document:
        return None  # another program's
    if document.pop("sha256", None) != digest_of_document(document):
        raise GluonAFFError(
            f"{path} is damaged: it has another content than was written, by its SHA-256; restore it, or {remedy}"
        )
    if document.get("format") != DESCRIPTION_FORMAT:
        known = f"this version reads {DESCRIPTION_FORMAT}"
        raise GluonAFFError(f"{path} is of format {document.get('format')}, {known}: {remedy}")
    found, expected = sha256_of(weights), document["weights_sha256"]
    if found != expected:
        raise GluonAFFError(
            f"{path} describes other weights: their SHA-256 is {expected[:12]}..., that of {Path(weights).name} "
            f"{found[:12]}...; put the two that belong together beside each other, or {remedy}"
        )
    return document
