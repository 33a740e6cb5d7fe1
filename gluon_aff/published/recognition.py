"""Recognising a weight file: its network, and the published files that have the same arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import mxnet as mx
import numpy as np

from ..errors import UsageError
from ..models import build_model
from ..utils.container import FLOATS, Container, read_container
from ..utils.files import PathLike
from .catalogue import catalogue
from .hosts import Shapes
from .structure import Structure, read_structure

_MOST_ARRAYS = 10_000  # of a network; a file with more is none of ours


@dataclass(frozen=True)
class Recognition:
    """What a file turned out to be.

    ``candidates`` are the catalogue ids whose names, shapes and types are the file's. ``create_model`` holds "name"
    and options, so that ``gluon_aff.create_model(**create_model)`` makes a network with the file's names and shapes; it
    is None, as ``structure`` is, for a file of no network here. ``problems`` says what is wrong with the file.
    """

    arrays: int
    candidates: List[str]
    create_model: Optional[Dict[str, Any]]
    structure: Optional[Structure]
    problems: List[str]


def recognise(file: Union[PathLike, Container]) -> Recognition:
    """Find the network of a ``.params`` file and the catalogue ids with the same arrays, from its table alone.

    Raises GluonAFFError when the file cannot be read, see ``read_container``.
    """
    container = file if isinstance(file, Container) else read_container(file)
    shapes = {name: array.shape for name, array in container.arrays.items()}
    types = {name: array.dtype for name, array in container.arrays.items()}
    structure, problems = None, _oddities(container)
    if not problems:
        try:
            structure = read_structure(shapes)
            expected, _ = arrays_of(structure.call())
            problems = differences(shapes, expected)
        except UsageError as error:
            problems = [str(error)]
    problems += [f"{name} is {kind}: expected floating point" for name, kind in types.items() if kind not in FLOATS]
    fits = structure if structure is not None and not problems else None
    return Recognition(
        arrays=len(shapes),
        candidates=_candidates(shapes, types) if fits else [],
        create_model=fits.call() if fits else None,
        structure=fits,
        problems=problems,
    )


def arrays_of(call: Mapping[str, Any], dtype: str = "float32") -> Tuple[Shapes, Dict[str, str]]:
    """(shapes, types) by structural name of the network that ``create_model(**call)`` makes, cast to ``dtype``."""
    return _arrays_of(json.dumps(call), dtype)


@lru_cache(maxsize=8)
def _arrays_of(call: str, dtype: str) -> Tuple[Shapes, Dict[str, str]]:
    try:
        with mx.name.NameManager():  # so that it leaves no gap in the names of the user's own networks
            net = build_model(**json.loads(call))
    except mx.MXNetError:
        raise UsageError(f"MXNet cannot make a network of these sizes: {call}") from None
    if dtype != "float32":
        net.cast(dtype)
    parameters = net._collect_params_with_prefix()
    return (
        {name: parameter.shape for name, parameter in parameters.items()},
        {name: np.dtype(parameter.dtype).name for name, parameter in parameters.items()},
    )


def differences(shapes: Shapes, expected: Shapes) -> List[str]:
    """What is missing from a file, what only it has, and what has another shape, each by name."""
    found = [f"{name} is missing" for name in expected if name not in shapes]
    found += [f"{name} is in the file only" for name in shapes if name not in expected]
    found += [
        f"{name} is {shapes[name]} in the file, {shape} in the network"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != tuple(shape)
    ]
    return found


def _oddities(container: Container) -> List[str]:
    """What keeps the names from being looked at."""
    names = list(container.arrays)
    if not names:
        return ["the file holds no arrays"]
    if len(names) > _MOST_ARRAYS:
        return [f"the file holds {len(names)} arrays, more than any network here"]
    if not container.named:
        return [f"the {len(names)} arrays have no names: expected what Block.save_parameters writes"]
    if any(name.startswith(("arg:", "aux:")) for name in names):
        return [
            "the names begin with arg: and aux:, as HybridBlock.export and Module write them: use "
            "gluon.SymbolBlock.imports with the -symbol.json beside it, or save the network by save_parameters"
        ]
    if not any("." in name for name in names):
        return [
            f"{names[0]!r} is a name as ParameterDict.save writes it, not a structural one: load the file with "
            "net.collect_params().load, then save the network by save_parameters"
        ]
    return []


def _candidates(shapes: Shapes, types: Mapping[str, str]) -> List[str]:
    total = sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
    found = []
    for identity, record in sorted(catalogue().items()):
        if (record["arrays"], record["total_params"]) != (len(shapes), total):
            continue
        model = record["model"]
        expected, expected_types = arrays_of({"name": model["name"], **model["options"]}, record["dtype"])
        if dict(shapes) == dict(expected) and dict(types) == expected_types:
            found.append(identity)
    return found
