"""What is known of a record file besides its records: ``NAME.manifest.json`` beside ``NAME.rec``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, TypedDict

from ...errors import GluonAFFError
from ...utils.files import atomic_write


class PackSettings(TypedDict):
    """The options of `PackOptions` that change what is written."""

    resize: Optional[int]
    quality: int
    shuffle: Optional[int]


class PackedFrom(TypedDict):
    """What a record file is made from: a stopped `pack` is continued only from the same."""

    options: PackSettings
    images: int
    list_sha256: str


class Manifest(PackedFrom):
    """A manifest's entries.

    ``source`` names the packed folder or archive, ``images`` and ``list_sha256`` describe its list of images.
    ``records`` and ``bytes`` measure the .rec file, ``sha256`` has the digest of each file by name. ``classes`` are the
    names of the class numbers, ``counts`` their numbers of images, ``bad`` the messages about images left out.
    """

    source: str
    records: int
    bytes: int
    sha256: Dict[str, str]
    bad: List[str]
    classes: List[str]
    counts: List[int]


_TYPES: Dict[str, type] = {
    "source": str,
    "options": dict,
    "images": int,
    "list_sha256": str,
    "records": int,
    "bytes": int,
    "sha256": dict,
    "bad": list,
    "classes": list,
    "counts": list,
}
_ITEM_TYPES: Dict[str, Any] = {"options": (int, type(None)), "sha256": str, "bad": str, "classes": str, "counts": int}


def manifest_path(records: Path) -> Path:
    """The manifest's name, given that of the .rec file."""
    return records.with_suffix(".manifest.json")


def read_manifest(records: Path) -> Optional[Manifest]:
    """The manifest of a .rec file.

    Parameters
    ----------
    records : Path
        The .rec file.

    Returns
    -------
    Manifest or None
        None when there is no manifest.

    Raises
    ------
    GluonAFFError
        When the manifest cannot be read, is not one, or has an entry of another type than `Manifest`.
    """
    path = manifest_path(records)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise GluonAFFError(f"cannot read {path}: {error}; remove it or make the records again") from error
    fault = _fault(content)
    if fault:
        raise GluonAFFError(f"{path} is not a manifest of records: {fault}; remove it or make the records again")
    return content


def _fault(content: Any) -> str:
    """What keeps a JSON document from being a `Manifest`; empty when nothing does."""
    if not isinstance(content, dict):
        return "it is not a JSON object"
    for name, kind in _TYPES.items():
        value = content.get(name)
        if not isinstance(value, kind):
            return f"{name!r} is {_shown(value)}, expected {kind.__name__}"
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        wrong = [item for item in items if not isinstance(item, _ITEM_TYPES[name])]
        if wrong:
            return f"{name!r} holds {_shown(wrong[0])}"
    beside = [name for name in content["sha256"] if not name or "/" in name or name in (".", "..")]
    return f"'sha256' has {beside[0]!r}, which is not the name of a file" if beside else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def write_manifest(records: Path, manifest: Manifest) -> None:
    """Write the manifest of a .rec file. Raises GluonAFFError when that cannot be done."""
    with atomic_write(manifest_path(records)) as handle:
        json.dump(manifest, handle, indent=1)
        handle.write("\n")


def read_classes(records: Path) -> Optional[Tuple[str, ...]]:
    """The names of the classes of a .rec file; None without a manifest."""
    manifest = read_manifest(records)
    return None if manifest is None else tuple(manifest["classes"])
