"""Finding the weights of a run."""

from __future__ import annotations

from pathlib import Path

from ..errors import GluonAFFError


def checkpoint_of(run: Path) -> Path:
    """The checkpoint that ``run`` is, or a run's best one, or its newest before there is a best.

    Raises GluonAFFError when it has none.
    """
    if (run / "state.json").is_file():
        return run
    if (run / "best").is_dir():
        return run / "best"
    found = sorted((run / "checkpoints").glob("epoch-*-batch-??????")) if (run / "checkpoints").is_dir() else []
    if not found:
        raise GluonAFFError(f"{run} is neither a run with a checkpoint nor a checkpoint of a training script")
    return found[-1]


def weights_of(checkpoint: Path) -> Path:
    """The file that holds a checkpoint's weights, averaged ones where the run averages."""
    averaged = checkpoint / "ema.params"
    return averaged if averaged.is_file() else checkpoint / "model.params"
