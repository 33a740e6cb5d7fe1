"""What weights say of themselves: one small JSON file beside them, ``model.json`` beside ``model.params``.

It tells what a network is and how it is to be used: task, network, data, input, class names and figure, and holds the
SHA-256 of the weights and of its own content. Here it is written and verified; what the entries mean is for others.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Optional

from ..errors import GluonAFFError
from ..utils.files import PathLike, digest_of_document, json_text, sha256_of

FORMAT = 1
Description = Dict[str, Any]


def description_path(weights: PathLike) -> Path:
    """Where the description of a weight file is: beside it, of the same name with the ending .json."""
    return Path(weights).with_suffix(".json")


def write_description(weights: Path, digest: str, description: Description) -> None:
    """Write what ``weights``, whose SHA-256 is ``digest``, say of themselves, and sync it. Raises OSError."""
    document = {"format": FORMAT, **description, "weights_sha256": digest}
    with open(description_path(weights), "wb") as handle:
        handle.write(json_text({**document, "sha256": digest_of_document(document)}).encode())
        handle.flush()
        os.fsync(handle.fileno())


def read_description(weights: PathLike) -> Optional[Description]:
    """What a weight file says of itself, verified; None where nothing of ours is beside it.

    Raises
    ------
    GluonAFFError
        When the file beside it is damaged, is of other weights, or of a format that this version does not know.
    """
    path = description_path(weights)
    if not path.is_file() or not Path(weights).is_file():
        return None
    remedy = f"remove {path.name} to use the weights as a file of which nothing is known"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        ours = isinstance(document, dict) and "weights_sha256" in document
    except (OSError, ValueError, RecursionError) as error:
        raise GluonAFFError(f"{path} cannot be read ({error}): restore it, or {remedy}") from None
    if not ours:
        return None  # another program's
    expected = document.pop("sha256", None)
    if expected != digest_of_document(document):
        raise GluonAFFError(
            f"{path} is damaged: it has another content than was written, by its SHA-256; restore it, or {remedy}"
        )
    if document.get("format") != FORMAT:
        raise GluonAFFError(f"{path} is of format {document.get('format')}, this version reads {FORMAT}: {remedy}")
    found = sha256_of(weights)
    if found != document["weights_sha256"]:
        raise GluonAFFError(
            f"{path} describes other weights: their SHA-256 is {document['weights_sha256'][:12]}..., that of "
            f"{Path(weights).name} {found[:12]}...; put the two that belong together beside each other, or {remedy}"
        )
    return document
