"""The catalogue of the weight files that the authors published: params/catalogue.json."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List

from ..errors import UsageError, near_matches
from ..facts import params_directory


def catalogue() -> Dict[str, Dict[str, Any]]:
    """id -> record; params/README.md explains the fields. Read once, and again when the file has changed."""
    path = params_directory() / "catalogue.json"
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _read(path: Path, *state: int) -> Dict[str, Dict[str, Any]]:
    with open(path, encoding="utf-8") as handle:
        return {record["id"]: record for record in json.load(handle)}


def list_published() -> List[str]:
    """Ids of the 23 published files and of three other readings of files whose constructor is uncertain."""
    return sorted(catalogue())


def ids_by_model() -> Dict[str, List[str]]:
    """Name of a model -> ids of the published files that fit it as the name stands, with its own fusion."""
    found: Dict[str, List[str]] = {}
    for identity, entry in catalogue().items():
        if "fusion" not in entry["model"]["options"] and not entry["alternative_reading_of"]:
            found.setdefault(entry["model"]["name"], []).append(identity)
    return found


def record(identity: str) -> Dict[str, Any]:
    """One record. Raises UsageError with near matches for an unknown id."""
    records = catalogue()
    if identity not in records:
        raise UsageError(f"no published weights {identity!r}: {near_matches(identity, records)}")
    return records[identity]
