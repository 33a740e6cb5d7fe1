"""Opens what is to be scored, explained or used: a run, a checkpoint, a weight file or an id of the catalogue."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import mxnet as mx

from .. import published
from ..data.pictures import NetworkInput
from ..deploy.manifest import is_exported, read_manifest
from ..errors import GluonAFFError, UsageError
from ..evaluation.trained_network import Claim, TrainedNetwork
from ..models import build_model, initializer_of, model_entry
from ..training.checkpoint import Description, description_path, read_description
from ..zoo import create_model
from .finished import open_run
from .gluoncv_zoo import is_zoo_name, zoo_network
from .register import get_task, list_tasks, task_of_dataset, task_of_network


def load_run(
    path: Union[str, os.PathLike[str]],
    which: str = "best",
    ctx: Union[mx.Context, Sequence[mx.Context], None] = None,
) -> TrainedNetwork:
    """The trained network of a run, with all that the run knows of it.

    Parameters
    ----------
    path : path
        A run's directory, one of its checkpoints, or a ``.params`` file of a run with its ``.json`` beside it.
    which : {"best", "last"}
        Of a run: the checkpoint that was best by validation (the newest before there is one), or the newest.
    ctx : Context or list of Context, optional
        Where the network is to lie (default: the CPU).

    Returns
    -------
    TrainedNetwork
        ``net``, ``prepare(pictures)``, ``classes``, ``task``, ``figure`` and ``file``.

    Raises
    ------
    UsageError
        When ``path`` is not there or no run, and for another ``which``.
    GluonAFFError
        When the run has no checkpoint yet, or its files are damaged or do not belong together.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise UsageError(f"no run at {place}: there is no such directory or file")
    if place.is_file() and read_description(place) is None:
        raise UsageError(
            f"{place} is no run: there is no {description_path(place).name} of ours beside it. create_model(NAME, "
            f"pretrained={str(path)!r}) loads weights alone"
        )
    devices = [mx.cpu()] if ctx is None else [ctx] if isinstance(ctx, mx.Context) else list(ctx)
    return open_trained(str(place), None, {}, devices, which=which)


def open_trained(
    weights: str,
    model: Optional[str],
    options: Dict[str, Any],
    devices: List[mx.Context],
    data: Optional[Dict[str, Any]] = None,
    which: str = "best",
) -> TrainedNetwork:
    """The network of a catalogue id, a .params file, or a run of ours (its directory or a checkpoint's).

    Parameters
    ----------
    weights : str
        The id, file or run.
    model, options
        The network of a file, as for create_model, or a classifier of GluonCV's model zoo; without it the file's
        description tells it, or it is recognised. Ids and runs know their own.
    devices : list of Context
        Where the network is to lie.
    data : dict, optional
        What is known of the images and wins over what the weights tell, under the names of `DataOptions`: ``dataset``,
        ``labels``, ``size``, ``normalisation``. It decides on `TrainedNetwork.input` alone.
    which : {"best", "last"}
        Of a run.

    Raises
    ------
    UsageError, GluonAFFError
        For what cannot be opened.
    """
    trained, description = _opened(weights, model, options, devices, which)
    given = {name: value for name, value in (data or {}).items() if value is not None}
    trained.make_input = partial(_input_of, trained, description, given)
    return trained


def _input_of(trained: TrainedNetwork, description: Optional[Description], given: Dict[str, Any]) -> NetworkInput:
    """What was recorded of the input, or what follows from the data that ``given`` and the weights tell."""
    if description and description["input"] and not given:
        try:
            return NetworkInput.from_json(description["input"])
        except (KeyError, TypeError, ValueError, UsageError) as error:
            where = description_path(trained.file)
            raise GluonAFFError(f"{where} describes no input that can be understood: {error}") from None
    task = get_task(trained.task)
    same_data = given.get("dataset", trained.data.get("dataset")) == trained.data.get("dataset")
    known = {**(trained.data if same_data else {}), **given}
    if known.get("dataset", trained.task) not in (trained.task, *task.datasets()):
        task = task_of_dataset(known["dataset"])
    return task.network_input(known, trained.outputs)


Opened = Tuple[TrainedNetwork, Optional[Description]]


def _opened(
    weights: str, model: Optional[str], options: Dict[str, Any], devices: List[mx.Context], which: str
) -> Opened:
    path = Path(weights).expanduser()
    given = {name: value for name, value in options.items() if value is not None}
    if given and not model:
        raise UsageError(f"--{next(iter(given)).replace('_', '-')} describes a network: say which with --model")
    if weights in published.catalogue() or path.is_dir():
        if model:
            raise UsageError(f"{weights} defines its own network: leave --model out")
        if path.is_dir():
            if is_exported(path):
                made_of = read_manifest(path)["source"]["weights"] or "unknown weights"
                raise UsageError(
                    f"{weights} is an exported network, made of {made_of}: it is for inference (gluon-aff predict); "
                    "train, score and explain the weights that it was made of"
                )
            return _of_run(path, devices, which)
        return _of_id(weights, published.find_file(weights), devices), None
    file = published.path_of(path)
    description = _checked(read_description(file), file)
    if model and is_zoo_name(model):
        return _of_zoo(path, file, model, given, devices), None
    if model:
        net = create_model(model, init=initializer_of(model), ctx=devices, **given)
        published.load(file, net)
        if description:
            return _described(path, file, description, net), description
        return _of_file(path, file, model, model, net), None
    if description and description["network"]:
        net = _network_of(description, file, devices)
        return _described(path, file, description, net), description
    if description:
        if not (file.resolve().parent / "state.json").is_file():
            raise UsageError(
                f"{file} holds a network of task {description['task']}'s own: open the checkpoint that it is from"
            )
        return _of_run(file.resolve().parent, devices, which)
    ids = published.identify(file)
    if ids:
        return _of_id(ids[0], file, devices), None
    net = published.load(file, ctx=devices)
    call = dict(published.recognise(file).create_model or {})
    name = call.pop("name")
    described = ", ".join([name, *(f"{key} {value}" for key, value in call.items())])
    return _of_file(path, file, name, described, net), None


_NONE = type(None)
#: What an entry of a description may be.
_ENTRIES = {
    **dict.fromkeys(("task", "name", "metric"), (str,)),
    "data": (dict,),
    **dict.fromkeys(("network", "input", "figure"), (dict, _NONE)),
}
_FIGURE = ("value", "images", "epoch")


def _checked(description: Optional[Description], file: Path) -> Optional[Description]:
    """A description whose entries are there, whoever wrote it. Raises GluonAFFError."""
    if description is None:
        return None
    wrong = [name for name, kinds in _ENTRIES.items() if not isinstance(description.get(name, ...), kinds)]
    figure = description.get("figure")
    if not wrong and figure and not all(isinstance(figure.get(name), (int, float)) for name in _FIGURE):
        wrong = ["figure"]
    if wrong:
        raise GluonAFFError(f"{description_path(file)} has no {wrong[0]} that can be understood: remove it")
    return description


def _network_of(description: Description, file: Path, devices: List[mx.Context]) -> mx.gluon.HybridBlock:
    """The network that a description tells of, with the weights. Raises GluonAFFError for one that cannot be made."""
    try:
        net = build_model(**description["network"])
    except (TypeError, UsageError) as error:
        raise GluonAFFError(f"{description_path(file)} describes no network of ours ({error}): remove it") from None
    net.initialize(ctx=devices)
    published.load(file, net)
    return net


def _ready(net: mx.gluon.HybridBlock) -> mx.gluon.HybridBlock:
    net.cast("float32")
    net.hybridize(static_alloc=True)
    return net


def _of_file(path: Path, file: Path, model: str, described: str, net: mx.gluon.HybridBlock) -> TrainedNetwork:
    task = task_of_network(model_entry(model))
    return TrainedNetwork(str(path), file, task.name, described, _ready(net), task.default_data_facts())


def _of_zoo(path: Path, file: Path, model: str, given: Dict[str, Any], devices: List[mx.Context]) -> TrainedNetwork:
    """A classifier of GluonCV's zoo; those for small images take CIFAR's input, the others ImageNet's."""
    unknown = next((name for name in given if name != "classes"), None)
    if unknown:
        raise UsageError(f"--{unknown.replace('_', '-')}: GluonCV's networks take --classes alone")
    zoo = zoo_network(model, file, given.get("classes"), devices)
    task = task_of_dataset("cifar10" if zoo.size <= 32 else "imagenet")
    data = task.default_data_facts() if zoo.size == 224 else {**task.default_data_facts(), "size": zoo.size}
    ready = _ready(zoo.net)
    return TrainedNetwork(str(path), file, task.name, f"{zoo.name} of GluonCV", ready, data, head=zoo.outputs)


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


def _of_run(path: Path, devices: List[mx.Context], which: str) -> Opened:
    run = open_run(path, which)
    net = run.network(devices)
    if run.description:
        trained = _described(path, run.weights, run.description, net)
        trained.data = {**run.task.data_facts(run.options), **trained.data}
        trained.options = run.options
        return trained, run.description
    task, data = run.task, run.task.data_facts(run.options)
    best, claim = run.state.get("best"), None
    if best and best["checkpoint"] == run.checkpoint.resolve().name:
        claim = Claim("logged", task.metric, best["val"], best["val_images"], data["dataset"], data.get("labels"))
    name = task.model_name(run.options)
    return TrainedNetwork(str(path), run.weights, task.name, name, _ready(net), data, claim, run.options), None


def _described(path: Path, file: Path, description: Description, net: mx.gluon.HybridBlock) -> TrainedNetwork:
    """A network as its weights describe it."""
    if description["task"] not in list_tasks():
        raise UsageError(f"{file} is of task {description['task']}, which is not registered here: import its module")
    data, figure, claim = dict(description["data"]), description["figure"], None
    if figure:
        names = float(figure["value"]), int(figure["images"]), str(data.get("dataset")), data.get("labels")
        claim = Claim("logged", description["metric"], *names, epoch=figure["epoch"])
    if description["input"] and description["input"].get("classes"):
        data["classes"] = description["input"]["classes"]
    return TrainedNetwork(str(path), file, description["task"], description["name"], _ready(net), data, claim)
