"""What stands in params/: the authors' runs, the paper's tables, their README's figures, ImageNet's classes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .errors import GluonAFFError

_PACKAGE = Path(__file__).resolve().parent


def published_runs() -> Dict[str, Dict[str, Any]]:
    """id -> record of runs.json, the authors' training runs; params/README-results.md explains the fields."""
    return {record["id"]: record for record in _read("runs.json")}


def curve_file(identity: str) -> Path:
    """The table of a run's figures per epoch."""
    return params_directory() / "curves" / f"{identity}.csv"


def imagenet_classes() -> List[Tuple[str, str]]:
    """(wnid, name) of ImageNet's 1000 classes in the order of their numbers."""
    with open(params_directory() / "imagenet_classes.csv", encoding="utf-8", newline="") as handle:
        return [(row["wnid"], row["name"]) for row in csv.DictReader(handle)]


def paper_tables() -> Dict[str, Any]:
    """Tables 3, 4 and 5 of the paper."""
    return _read("paper_tables.json")


def readme_figures() -> Dict[str, Any]:
    """The ImageNet errors that the authors' README states for the release."""
    return _read("readme_figures.json")


def sirst_figures() -> Dict[str, Any]:
    """IoU and nIoU on SIRST from "Asymmetric Contextual Modulation", with their setting and source."""
    return _read("sirst.json")


def model_figures() -> Dict[str, Dict[str, Any]]:
    """Model name -> its parameters and FLOPs, as ``gluon-aff models --count params/models.json`` counted them."""
    return {record["name"]: record for record in _read("models.json")}


def _read(name: str) -> Any:
    path = params_directory() / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GluonAFFError(f"{path} is missing or damaged ({error}): install gluon_aff again") from error


def params_directory() -> Path:
    """Where the data of params/ lies: inside an installed package, beside it in a clone.

    Raises GluonAFFError when it is in neither place.
    """
    for place in (_PACKAGE / "params", _PACKAGE.parent / "params"):
        if (place / "catalogue.json").is_file():
            return place
    raise GluonAFFError(
        f"the data folder params/ is neither in {_PACKAGE} nor beside it: install gluon_aff again, or run from a clone"
    )


def paper_accuracy(host: str, blocks: int, strategy: str) -> Optional[float]:
    """The paper's figure in Tables 3 and 4, or None where it gives none.

    Accuracy on CIFAR-100's 20 superclasses; for "fpn" most likely foreground IoU on StopSign.
    """
    tables = paper_tables()
    for table in ("table4_integration", "table3_aggregation_scale"):
        columns, rows = tables[table]["columns"], tables[table]["rows"]
        column = f"{host}_b{blocks}"
        if strategy in rows and column in columns:
            return rows[strategy][columns.index(column)]
    return None
