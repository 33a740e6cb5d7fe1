"""What is known of a record file besides its records: ``NAME.manifest.json`` beside ``NAME.rec``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from ...errors import GluonAFFError
from ...utils.files import atomic_write

Manifest = Dict[str, Any]


def manifest_path(records: Path) -> Path:
    return records.with_suffix(".manifest.json")


def read_manifest(records: Path) -> Optional[Manifest]:
    """The manifest of a .rec file, None without one. Raises GluonAFFError for a damaged one."""
    path = manifest_path(records)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GluonAFFError(f"cannot read {path}: {error}; remove it or make the records again") from error
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
        raise GluonAFFError(f"{path} is not a manifest of records: it names no classes; remove it")
    return content


def write_manifest(records: Path, manifest: Manifest) -> None:
    with atomic_write(manifest_path(records)) as handle:
        json.dump(manifest, handle, indent=1)
        handle.write("\n")


def read_classes(records: Path) -> Optional[Tuple[str, ...]]:
    """The names of the classes of a .rec file, where its manifest has them."""
    manifest = read_manifest(records)
    return None if manifest is None else tuple(manifest["classes"])
