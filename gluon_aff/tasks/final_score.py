"""The test images of a run that validates on held-out training images: scored once, at the end, and kept."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, cast

import mxnet as mx
import numpy as np

from .. import published
from .._version import __version__
from ..errors import GluonAFFError
from ..training.history import EpochRecord, environment
from ..training.run import FINAL_TEST, Run
from ..training.weights import checkpoint_weights
from ..utils.files import write_json
from ..utils.tables import write_csv


@dataclass(frozen=True)
class FinalScore:
    """A network's figures on the test images, ``record``, under the names of `EpochRecord`; and every image's share.

    ``shares`` are an image's id, ``part`` and ``whole``: "val" is the sum of the parts over the sum of the wholes. A
    classifier's are 1 or 0 and 1, a segmentation's intersection and union in pixels. Empty where "val" is no such
    quotient. ``columns`` and ``rows`` are what else is kept of each image.
    """

    record: Dict[str, Any]
    shares: List[Tuple[str, int, int]]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()


@dataclass(frozen=True, eq=False)
class Shares:
    """Images by id, and of each its ``part`` and ``whole``, float64 (N,); see `FinalScore`."""

    images: Tuple[str, ...]
    part: np.ndarray
    whole: np.ndarray


def scored(directory: Path) -> bool:
    """Whether a run's test images were scored."""
    return (directory / FINAL_TEST[0]).is_file()


def read_figures(directory: Path) -> Dict[str, Any]:
    """What final-test.json of a run says. Raises GluonAFFError for a damaged one."""
    path = directory / FINAL_TEST[0]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["epoch"], found["val"], found["val_images"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} cannot be read ({error!r}): remove it and resume the run") from None
    return found


def read_shares(directory: Path) -> Optional[Shares]:
    """Every test image's share in a run's figure; None where images have none.

    Raises GluonAFFError for a damaged file.
    """
    path = directory / FINAL_TEST[1]
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = [(row["image"], int(row["part"]), int(row["whole"])) for row in csv.DictReader(handle)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} cannot be read ({error!r}): remove final-test.json and resume the run") from None
    if not rows:
        return None
    images, parts, wholes = zip(*rows)
    return Shares(images, np.array(parts, dtype=np.float64), np.array(wholes, dtype=np.float64))


def score_once(
    net: mx.gluon.Block,
    test: Callable[[], FinalScore],
    run: Run,
    best: EpochRecord,
    figure: Callable[[EpochRecord], str],
) -> None:
    """Score the best checkpoint's weights, averaged where the run averages, and write both files.

    Weights that were scored are not scored again; a run that is made longer has others. ``net`` has these weights
    afterwards; ``test`` scores it, and ``figure`` puts a record into words.
    """
    directory = run.directory
    if scored(directory) and read_figures(directory)["epoch"] == best["epoch"]:
        return
    published.load(checkpoint_weights(directory), net)
    found = test()
    names = ("image", "part", "whole", *found.columns)
    rows = found.rows or [()] * len(found.shares)
    write_csv(names, [(*share, *row) for share, row in zip(found.shares, rows)], directory / FINAL_TEST[1])
    chosen = {"validation": best["val"], "validation_images": best["val_images"], "epoch": best["epoch"]}
    write_json({**found.record, **chosen, "commit": environment(__version__)["commit"]}, directory / FINAL_TEST[0])
    words = figure(cast(EpochRecord, found.record))
    run.log(f"test images, scored once, by the weights of epoch {best['epoch']}: {words}")
