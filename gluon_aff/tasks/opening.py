"""Opens what is to be scored or looked at: a run, a checkpoint, a weight file or an id of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import mxnet as mx

from .. import published
from ..errors import UsageError
from ..evaluation.trained_network import Claim, TrainedNetwork
from ..models import initializer_of, model_entry
from ..zoo import create_model
from .finished import open_run
from .register import task_of_network


def open_trained(
    weights: str, model: Optional[str], options: Dict[str, Any], devices: List[mx.Context]
) -> TrainedNetwork:
    """The network of a catalogue id, a .params file, or a run of ours (its directory or a checkpoint's).

    model, options: the network of a file, as for create_model; without it the file is recognised. Ids and runs know
    their own. Raises UsageError and GluonAFFError.
    """
    path = Path(weights).expanduser()
    given = {name: value for name, value in options.items() if value is not None}
    if given and not model:
        raise UsageError(f"--{next(iter(given)).replace('_', '-')} describes a network: say which with --model")
    if weights in published.catalogue() or path.is_dir():
        if model:
            raise UsageError(f"{weights} defines its own network: leave --model out")
        return _of_id(weights, published.find_file(weights), devices) if not path.is_dir() else _of_run(path, devices)
    file = published.path_of(path)
    if model:
        net = create_model(model, init=initializer_of(model), ctx=devices, **given)
        published.load(file, net)
        return _of_file(path, file, model, model, net)
    ids = published.identify(file)
    if ids:
        return _of_id(ids[0], file, devices)
    net = published.load(file, ctx=devices)
    call = dict(published.recognise(file).create_model or {})
    name = call.pop("name")
    described = ", ".join([name, *(f"{key} {value}" for key, value in call.items())])
    return _of_file(path, file, name, described, net)


def _ready(net: mx.gluon.HybridBlock) -> mx.gluon.HybridBlock:
    net.cast("float32")
    net.hybridize(static_alloc=True)
    return net


def _of_file(path: Path, file: Path, model: str, described: str, net: mx.gluon.HybridBlock) -> TrainedNetwork:
    task = task_of_network(model_entry(model))
    return TrainedNetwork(str(path), file, task.name, described, _ready(net), task.images_of_weights())


def _of_id(identity: str, file: Path, devices: List[mx.Context]) -> TrainedNetwork:
    record = published.record(identity)
    data: Dict[str, Any] = {"dataset": record["dataset"]}
    if record["dataset"] == "imagenet":
        data["normalisation"] = "records"  # all published ImageNet weights were trained and scored from record files
    if record["label_mode"]:
        data["labels"] = record["label_mode"]
    claim = Claim(
        by=f"published as {record['alternative_reading_of'] or identity}",
        metric="accuracy" if record["metric"] == "acc" else "top-1 error",
        value=record["value"],
        images=record["images"],
        dataset=record["dataset"],
        labels=record["label_mode"],
        run=record["alternative_reading_of"] or identity,
    )
    net = published.build(identity, devices)
    net.cast("float32")
    published.load(identity if file == published.place_of(identity) else file, net)
    name = record["model"]["name"]
    task = task_of_network(model_entry(name)).name
    return TrainedNetwork(identity, file, task, name, _ready(net), data, claim)


def _of_run(path: Path, devices: List[mx.Context]) -> TrainedNetwork:
    run = open_run(path)
    task, data = run.task, run.task.images(run.options)
    best, claim = run.state.get("best"), None
    if best and best["checkpoint"] == run.checkpoint.resolve().name:
        claim = Claim("logged", task.metric, best["val"], best["val_images"], data["dataset"], data.get("labels"))
    name = task.model_name(run.options)
    net = _ready(run.network(devices))
    return TrainedNetwork(str(path), run.weights, task.name, name, net, data, claim, run.options)
