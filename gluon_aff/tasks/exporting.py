"""Exporting a trained network: what is known of it goes into the manifest, the user's pictures into the check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from .._version import __version__
from ..data.picture_files import find_pictures
from ..deploy import Export, Source, export
from ..errors import UsageError
from ..evaluation import TrainedNetwork
from ..models.features import FeatureMaps
from ..utils.files import sha256_of


def export_network(
    trained: TrainedNetwork,
    directory: Path,
    to: str,
    *,
    images: Optional[Sequence[str]] = None,
    count: Optional[int] = None,
    input_size: Optional[int] = None,
    output: str = "logits",
    out_indices: Optional[Sequence[int]] = None,
    **form: Any,
) -> Export:
    """Export what `open_network` opened, as `deploy.export` does.

    ``output`` is "logits", "probabilities" or "features": the maps of `create_model`'s ``features_only``, of which
    ``out_indices`` chooses some.

    It is checked and calibrated on pictures in these places, at most ``count`` of them, evenly spaced. Where all lie in
    folders named like classes, or have masks, the accuracy or IoU on them before and after is reported.
    """
    pixels, truth = _pictures(trained, images, count, input_size) if images else (None, None)
    net, features = trained.net, output == "features"
    if features:
        net = FeatureMaps(net, out_indices)
        net.hybridize(static_alloc=True)
    elif out_indices is not None:
        raise UsageError("`out_indices` choose among feature maps: give `output` features")
    source = Source(
        name=trained.network,
        task=trained.task,
        weights=trained.file.name,
        sha256=sha256_of(trained.file) if trained.file.is_file() else None,
        figure=trained.figure,
        data={name: value for name, value in trained.data.items() if name not in ("data", "ground_truth", "classes")},
        version=__version__,
    )
    return export(
        net,
        directory,
        to,
        input=replace(trained.input, classes=None) if features else trained.input,
        segments=trained.segments,
        input_size=input_size,
        pixels=pixels,
        truth=None if features else truth,
        probabilities=output == "probabilities",
        source=source,
        **form,
    )


def _pictures(
    trained: TrainedNetwork, places: Sequence[str], count: Optional[int], size: Optional[int]
) -> Tuple[np.ndarray, Optional[List[Any]]]:
    """Pixels of the user's pictures at the input's size, and what they show, where that is known of all."""
    chosen = find_pictures(places, count).chosen
    pixels = [trained.input.read(picture.content(), picture.where) for picture in chosen]
    sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in pixels})
    if len(sizes) > 1:
        raise UsageError(f"the pictures differ in size ({', '.join(sizes[:3])}): give --input-size N to resize them")
    classes = trained.input.classes
    if trained.segments:
        truth: List[Any] = [trained.mask_of(each, image.shape[:2]) for each, image in zip(chosen, pixels)]
    else:
        truth = [classes.find(each.folder) if classes else None for each in chosen]
    return np.stack(pixels), None if any(each is None for each in truth) else truth
