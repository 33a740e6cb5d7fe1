"""Opens trained weights, one way for every command: a run, a file, an id, an exported network, one of GluonCV's."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import mxnet as mx

from .. import published
from ..data.pictures import NetworkInput
from ..deploy import is_exported, open_exported, read_manifest
from ..errors import GluonAFFError, UsageError, last_line
from ..evaluation.trained_network import Claim, TrainedNetwork
from ..models import build_model, initializer_of, list_models, model_entry
from ..published.catalogue import no_weights
from ..runtime.importing import import_gluoncv
from ..training.checkpoint import Damaged, Description, description_path, read_state, weights_in
from ..training.history import HISTORY, History
from ..training.weights import find_checkpoint, read_description
from ..utils.files import sha256_of
from ..zoo import create_model
from .config import read_yaml
from .task import Task, get_task, list_tasks, task_of_dataset, task_of_network

PREFIX = "gluoncv:"  # before a name that one of our networks has as well
_ZOO_SIZES = (224, 299, 331)
#: Options of a run that say where its weights once came from, or only concern training on several devices.
_FRESH = {"resume_from": None, "use_pretrained": None, "sync_bn": False}


@dataclass(frozen=True)
class FinishedRun:
    """A run of a training script, or one of its checkpoints, whose network is not built yet.

    ``task`` is what it was trained for, ``checkpoint`` a folder, ``weights`` a file in it: the averaged ones where the
    run averages. ``description`` is what these say of themselves; None in runs of earlier versions.
    """

    task: Task
    checkpoint: Path
    weights: Path
    state: Dict[str, Any]
    options: Namespace
    description: Optional[Description] = None


def load_run(
    path: Union[str, os.PathLike[str]],
    which: str = "best",
    ctx: Union[mx.Context, Sequence[mx.Context], None] = None,
) -> TrainedNetwork:
    """Return the trained network of a run, with all that the run knows of it.

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
    return open_network(str(place), devices=devices, which=which)


def open_network(
    weights: Union[str, FinishedRun],
    model: Optional[str] = None,
    options: Optional[Dict[str, Any]] = None,
    devices: Optional[List[mx.Context]] = None,
    data: Optional[Dict[str, Any]] = None,
    *,
    which: str = "best",
    exported: bool = False,
) -> TrainedNetwork:
    """Open a trained network, whatever holds it.

    ``weights`` are a catalogue id, a .params file, a run of ours (its directory or a checkpoint's), a registered
    network that one published file fits, a classifier of GluonCV's model zoo, which fetches its own weights, or, where
    ``exported`` is set, the folder of an exported network. ``model`` and its ``options`` are the network of a file, as
    for create_model, or a classifier of GluonCV's; without it the file's description tells it, or it is recognised.
    ``data`` is known of the images and wins over what the weights tell, under the names of `DataOptions`; it decides on
    `TrainedNetwork.input` alone. Raises UsageError and GluonAFFError for weights that cannot be opened.
    """
    devices = devices or [mx.cpu()]
    settings = {name: value for name, value in (options or {}).items() if value is not None}
    known = {name: value for name, value in (data or {}).items() if value is not None}
    if isinstance(weights, FinishedRun):
        trained = _of_run(weights, str(weights.checkpoint), devices)
    else:
        path = Path(weights).expanduser()
        if is_exported(path):
            given = [*({"model": model} if model else {}), *settings, *known]
            return _of_exported(weights, path, given, devices[0], exported)
        if settings and not model:
            raise UsageError(f"--{next(iter(settings)).replace('_', '-')} describes a network: say which with --model")
        if model and (weights in published.catalogue() or path.is_dir()):
            raise UsageError(f"{weights} defines its own network: leave --model out")
        if weights in published.catalogue():
            trained = _of_id(weights, published.find_file(weights), devices)
        elif path.is_dir():
            trained = _of_run(read_run(path, which), weights, devices)
        elif path.is_file():
            trained = _of_file(weights, path, model, settings, devices)
        elif model:
            raise UsageError(no_weights(weights))
        else:
            trained = _of_name(weights, devices)
    trained.make_input = partial(_input_of, trained, known)
    return trained


def open_teacher(name: str, classes: int, size: int, devices: List[mx.Context]) -> mx.gluon.HybridBlock:
    """Return the trained network that a student learns from; it takes images (N, 3, size, size) to (N, classes)."""
    try:
        net = open_network(name, devices=devices).net
    except UsageError as error:
        raise UsageError(f"--teacher {error}") from None
    try:
        shape = net(mx.nd.zeros((1, 3, size, size), ctx=devices[0])).shape
    except (mx.MXNetError, AttributeError, ValueError) as error:
        raise UsageError(f"--teacher {name} cannot take images of {size}x{size}: {last_line(error)}") from None
    if shape != (1, classes):
        raise UsageError(
            f"--teacher {name} gives {shape[1:]} values per image: a student of {classes} classes needs "
            "a teacher of the same classes"
        )
    return net


def _input_of(trained: TrainedNetwork, given: Dict[str, Any]) -> NetworkInput:
    """What was recorded of the input, or what follows from the data that ``given`` and the weights tell."""
    recorded = (trained.description or {}).get("input")
    if recorded and not given:
        try:
            return NetworkInput.from_json(recorded)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            where = description_path(trained.file)
            raise GluonAFFError(f"{where} describes no input that can be understood: {error}") from None
    task = get_task(trained.task)
    same_data = given.get("dataset", trained.data.get("dataset")) == trained.data.get("dataset")
    known = {**(trained.data if same_data else {}), **given}
    if known.get("dataset", trained.task) not in (trained.task, *task.datasets()):
        task = task_of_dataset(known["dataset"])
    return task.network_input(known, trained.outputs)


def _ready(net: mx.gluon.HybridBlock) -> mx.gluon.HybridBlock:
    net.cast("float32")
    net.hybridize(static_alloc=True)
    return net


# ---- published weights


def _of_id(identity: str, file: Path, devices: List[mx.Context]) -> TrainedNetwork:
    record = published.record(identity)
    data: Dict[str, Any] = {"dataset": record["dataset"]}
    if record["dataset"] == "imagenet":
        data["normalisation"] = "records"  # all published ImageNet weights were trained and scored from record files
    if record["label_mode"]:
        data["labels"] = record["label_mode"]
    if record["metric"] == "iou":
        data["size"] = record["input"][0]
    original = record["alternative_reading_of"] or identity
    claim = Claim(
        by=f"published as {original}",
        metric=published.METRICS[record["metric"]],
        value=record["value"],
        images=record["images"],
        dataset=record["dataset"],
        labels=record["label_mode"],
        split=record.get("split"),
        run=original,
    )
    net = published.build(identity, devices)
    net.cast("float32")
    published.load(identity if file == published.place_of(identity) else file, net)
    name = record["model"]["name"]
    return TrainedNetwork(identity, file, task_of_network(model_entry(name)).name, name, _ready(net), data, claim)


# ---- runs of ours


def read_run(path: Path, which: str = "best") -> FinishedRun:
    """Read the checkpoint that ``path`` is, or a run's best or last one, see `find_checkpoint`.

    Raises GluonAFFError when it has none or it is damaged, UsageError for a checkpoint that no script of ours wrote.
    """
    place = find_checkpoint(path, which)
    if place is None:
        raise GluonAFFError(f"{path} is neither a run with a checkpoint nor a checkpoint of a training script")
    state, weights = read_state(place), weights_in(place)
    for name, expected in state["files"].items():
        if not (place / name).is_file():
            raise Damaged(place, f"{name} is missing")
        if name == weights.name and sha256_of(weights) != expected:
            raise Damaged(place, f"{name} has another SHA-256 than was written")
    saved, data = state.get("options", {}), state.get("data", {})
    if not isinstance(saved, dict) or not isinstance(data, dict):
        raise Damaged(place, "state.json has options or data that are no list of names and values")
    name = state.get("task", "cifar" if "blocks" in saved else None)
    if not isinstance(name, str):
        raise UsageError(f"{place} is not a checkpoint of a training script: give its model.params and --model")
    check_registered(name, place)
    config = config_of(place)
    free = read_yaml(config) if config.is_file() else {}
    task = get_task(name)
    defaults = task.parser().defaults()
    for values, source in ((free, str(config)), (saved, f"{place}/state.json")):
        if not isinstance(values, dict):
            raise UsageError(f"{source} is not a list of 'option: value' lines")
        task.parser().checked({name: value for name, value in values.items() if name in defaults}, source)
    options = Namespace(**{**defaults, **free, **saved, **_FRESH})
    return FinishedRun(task, place, weights, state, options, read_description(weights))


def check_registered(task: str, place: Path) -> None:
    """Raise UsageError where a run at ``place`` is of a task that is not known here."""
    if task not in list_tasks():
        raise UsageError(
            f"{place} is of task {task}, which is not registered here: import its module, or run it in the place of "
            "gluon-aff"
        )


def config_of(checkpoint: Path) -> Path:
    """Return the file with the options of a checkpoint's run."""
    return checkpoint.resolve().parents[1] / "config.yaml"


def commits_of(checkpoint: Path) -> List[str]:
    """Return what a checkpoint was trained at; nothing where its run's history is not there or cannot be read."""
    try:
        return History(config_of(checkpoint).with_name(HISTORY)).commits()
    except GluonAFFError:
        return []


def _of_run(run: FinishedRun, name: str, devices: List[mx.Context]) -> TrainedNetwork:
    net = run.task.network(run.options, run.state["data"].get("classes"), devices)
    published.load(run.weights, net)
    data, shape = run.task.data_facts(run.options), run.task.input_shape(run.options)
    if run.description:
        trained = _described(name, run.weights, run.description, net)
        trained.data = {**data, **trained.data}
        trained.options, trained.input_shape = run.options, shape
        return trained
    best, claim = run.state.get("best"), None
    if best and best["checkpoint"] == run.checkpoint.resolve().name:
        claim = Claim("logged", run.task.metric, best["val"], best["val_images"], data["dataset"], data.get("labels"))
    network = run.task.model_name(run.options)
    about = name, run.weights, run.task.name, network
    return TrainedNetwork(*about, _ready(net), data, claim, run.options, input_shape=shape)


# ---- files


def _of_file(
    name: str, file: Path, model: Optional[str], settings: Dict[str, Any], devices: List[mx.Context]
) -> TrainedNetwork:
    description = _checked(read_description(file), file)
    if model and is_zoo_name(model):
        return _of_zoo(name, file, model, settings, devices)
    if model:
        net = create_model(model, init=initializer_of(model), ctx=devices, **settings)
        published.load(file, net)
        return _described(name, file, description, net) if description else _alone(name, file, model, model, net)
    if description and description["network"]:
        return _described(name, file, description, _network_of(description, file, devices))
    if description:
        folder = file.resolve().parent
        if not (folder / "state.json").is_file():
            raise UsageError(
                f"{file} holds a network of task {description['task']}'s own: open the checkpoint that it is from"
            )
        return _of_run(read_run(folder), name, devices)
    ids = published.identify(file)
    if ids:
        return _of_id(ids[0], file, devices)
    read = published.open_weights(file)
    net = published.load(read, ctx=devices)
    call = dict(published.recognise(read.container).create_model or {})
    kind = call.pop("name")
    return _alone(name, file, kind, ", ".join([kind, *(f"{key} {value}" for key, value in call.items())]), net)


def _alone(name: str, file: Path, model: str, words: str, net: mx.gluon.HybridBlock) -> TrainedNetwork:
    """A network of weights that say nothing of themselves."""
    task = task_of_network(model_entry(model))
    return TrainedNetwork(name, file, task.name, words, _ready(net), task.default_data_facts())


#: What an entry of a description may be.
_ENTRIES: Dict[str, Tuple[type, ...]] = {
    **dict.fromkeys(("task", "name", "metric"), (str,)),
    "data": (dict,),
    **dict.fromkeys(("network", "input", "figure"), (dict, type(None))),
}


def _checked(description: Optional[Description], file: Path) -> Optional[Description]:
    """A description whose entries are there, whoever wrote it. Raises GluonAFFError."""
    if description is None:
        return None
    wrong = [name for name, kinds in _ENTRIES.items() if not isinstance(description.get(name, ...), kinds)]
    figure = description.get("figure")
    if not wrong and figure:
        numbers = [figure.get(name) for name in ("value", "images", "epoch")]
        wrong = [] if all(isinstance(number, (int, float)) for number in numbers) else ["figure"]
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


def _described(name: str, file: Path, description: Description, net: mx.gluon.HybridBlock) -> TrainedNetwork:
    """A network as its weights describe it."""
    task, data, figure, claim = description["task"], dict(description["data"]), description["figure"], None
    check_registered(task, file)
    if figure:
        names = float(figure["value"]), int(figure["images"]), str(data.get("dataset")), data.get("labels")
        claim = Claim("logged", description["metric"], *names, epoch=figure["epoch"])
    if description["input"] and description["input"].get("classes"):
        data["classes"] = description["input"]["classes"]
    found = TrainedNetwork(name, file, task, description["name"], _ready(net), data, claim)
    found.description = description
    return found


# ---- exported networks


def _of_exported(name: str, path: Path, given: List[str], device: mx.Context, wanted: bool) -> TrainedNetwork:
    if not wanted:
        made_of = read_manifest(path)["source"]["weights"] or "unknown weights"
        raise UsageError(
            f"{name} is an exported network, made of {made_of}: it is for predict and evaluate; train, explain and "
            "export the weights that it was made of"
        )
    if given:
        flag = {"size": "input-size"}.get(given[0], given[0].replace("_", "-"))
        raise UsageError(f"{name} is an exported network and says itself what it takes: leave --{flag} out")
    found = open_exported(path, device)
    task, known = str(found.manifest.get("task") or ""), found.manifest["source"].get("data")
    data = dict(known) if isinstance(known, dict) else {}
    if found.input and found.input.classes:
        data["classes"] = list(found.input.classes.names)
    return TrainedNetwork(name, path, task, found.manifest["name"], found.net, data, exported=found)


# ---- networks by name, and GluonCV's


def is_zoo_name(name: str) -> bool:
    """Tell whether a network is to be looked for in GluonCV's zoo rather than among ours."""
    return name.startswith(PREFIX) or name not in list_models()


def _of_name(name: str, devices: List[mx.Context]) -> TrainedNetwork:
    """A registered network that one published file fits, or one that GluonCV has weights of."""
    if not is_zoo_name(name):
        identity = published.id_for(name)
        return _of_id(identity, published.find_file(identity), devices)
    if not re.fullmatch(rf"({PREFIX})?[a-z][\w.]*", name) or name.endswith(".params"):
        raise UsageError(no_weights(name))
    try:
        return _of_zoo(name, None, name, {}, devices)
    except ModuleNotFoundError as error:
        needed = f"GluonCV's model zoo needs {error.name}, which is not installed"
        raise UsageError(f"{no_weights(name)} ({needed})") from None


def _of_zoo(
    name: str, file: Optional[Path], model: str, settings: Dict[str, Any], devices: List[mx.Context]
) -> TrainedNetwork:
    """A classifier of GluonCV's zoo with the weights of a file, in any type, or else those that GluonCV fetches.

    Those for small images take CIFAR's input, the others ImageNet's.
    """
    unknown = next((name for name in settings if name != "classes"), None)
    if unknown:
        raise UsageError(f"--{unknown.replace('_', '-')}: GluonCV's networks take --classes alone")
    bare = model[len(PREFIX) :] if model.startswith(PREFIX) else model
    zoo = import_gluoncv("gluoncv.model_zoo")
    try:
        net = zoo.get_model(bare, **(settings if file else {"pretrained": True, "ctx": devices}))
    except ValueError:  # its message is a list of hundreds of names
        others = "" if file else "a file, an id of `gluon-aff published list`, "
        raise UsageError(
            f"{model} is neither {others}a name of `gluon-aff models` nor one of GluonCV's model zoo"
        ) from None
    except TypeError as error:
        raise UsageError(f"GluonCV's {bare} cannot be made with {settings}: {error}") from None
    except Exception as error:  # no connection, a damaged download, a name without weights: each has its own kind
        raise GluonAFFError(f"GluonCV cannot give the weights of {name}: {last_line(error)}") from error
    if file:
        try:
            net.load_parameters(str(file), ctx=devices, cast_dtype=True, dtype_source="current")
        except (AssertionError, ValueError, OSError, mx.MXNetError) as error:
            raise UsageError(f"{file} does not fit GluonCV's {bare}: {last_line(error)}") from None
    size = _zoo_size(net, bare, devices[0])
    task = task_of_dataset("cifar10" if size <= 32 else "imagenet")
    data = {**task.default_data_facts(), **({} if size == 224 else {"size": size})}
    where = file or Path(bare)
    shape = (1, 3, size, size)
    return TrainedNetwork(name, where, task.name, f"{bare} of GluonCV", _ready(net), data, input_shape=shape)


def _zoo_size(net: mx.gluon.HybridBlock, name: str, device: mx.Context) -> int:
    """The size of its images. Raises UsageError when it gives no logits (N, classes)."""
    for size in (32,) if name.startswith("cifar_") else _ZOO_SIZES:
        try:
            shape: Sequence[int] = getattr(net(mx.nd.zeros((1, 3, size, size), ctx=device)), "shape", ())
        except (mx.MXNetError, ValueError):
            continue
        if len(shape) == 2:
            return size
        break
    raise UsageError(f"GluonCV's {name} does not give class logits (N, classes): only classifiers can be opened")
