"""The catalogue of the weight files that the authors published: params/catalogue.json."""

from __future__ import annotations

import json
from typing import Any, Dict, List

from ..errors import UsageError, near_matches
from ..facts import params_directory


def catalogue() -> Dict[str, Dict[str, Any]]:
    """id -> record; params/README.md explains the fields. Read anew at each call."""
    with open(params_directory() / "catalogue.json", encoding="utf-8") as handle:
        return {record["id"]: record for record in json.load(handle)}


def list_published() -> List[str]:
    """Ids of the 23 published files and of three other readings of files whose constructor is uncertain."""
    return sorted(catalogue())


def record(identity: str) -> Dict[str, Any]:
    """One record. Raises UsageError with near matches for an unknown id."""
    records = catalogue()
    if identity not in records:
        raise UsageError(f"no published weights {identity!r}: {near_matches(identity, records)}")
    return records[identity]
