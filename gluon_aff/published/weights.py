"""Loading a published weight file into a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Optional, Union

import mxnet as mx

from ..errors import GluonAFFError, UsageError
from ..models.common import ClassificationNet
from .catalogue import catalogue, record
from .network import build


def models_directory() -> Path:
    """Where weight files are looked for: ``$MXNET_HOME/models``, by default ``~/.mxnet/models``."""
    return Path(os.environ.get("MXNET_HOME", "~/.mxnet")).expanduser() / "models"


def find_file(identity: str) -> Path:
    """The file of a catalogue id under the models directory.

    Raises GluonAFFError, with the file's address in the authors' repository, when it is not there.
    """
    entry = record(identity)
    path = models_directory() / entry["file"]
    if not path.is_file():
        raise GluonAFFError(
            f"{identity} is not at {path}: get it from {address(identity)} ({entry['bytes']} bytes) and put it there"
        )
    return path


def address(identity: str) -> str:
    """Where the authors published the file of a catalogue id."""
    entry = record(identity)
    return f"github.com/YimianDai/open-aff, commit {entry['commit']}, file {entry['path']!r}"


def load(
    id_or_file: Union[str, os.PathLike[str]],
    net: Optional[ClassificationNet] = None,
    ctx: Optional[mx.Context] = None,
) -> ClassificationNet:
    """A network holding the weights of a catalogue id or of a ``.params`` file.

    For an id the network is built when none is given; a file needs one. Every array must have its place: float16 files
    go into float32 networks and the other way round, but extra, missing or mismatched arrays raise UsageError by name.
    """
    if str(id_or_file) in catalogue():
        path, net = find_file(str(id_or_file)), net or build(str(id_or_file), ctx)
    else:
        path = Path(id_or_file)
        if not path.is_file():
            raise UsageError(f"{path} is neither a file nor an id of `gluon_aff.published.list_published()`")
        if net is None:
            raise UsageError(
                f"which network is {path} for? Give it as net=, or the file's catalogue id instead of a path"
            )
    problems = _mismatches(path, net)
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise UsageError(f"{path} does not fit this {type(net).__name__}: {shown}")
    net.load_parameters(str(path), ctx=ctx, cast_dtype=True, dtype_source="current")
    return net


def _mismatches(path: Path, net: ClassificationNet) -> List[str]:
    try:
        arrays = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise GluonAFFError(f"{path} is no readable weight file: {str(error).splitlines()[-1]}") from None
    if not isinstance(arrays, dict):
        raise GluonAFFError(f"{path} holds a list of arrays without names: expected what Block.save_parameters writes")
    expected = net._collect_params_with_prefix()
    problems = [f"{name} is missing" for name in expected if name not in arrays]
    problems += [f"{name} is in the file only" for name in arrays if name not in expected]
    for name, parameter in expected.items():
        if name in arrays and arrays[name].shape != parameter.shape:
            problems.append(f"{name} is {arrays[name].shape} in the file, {parameter.shape} in the network")
    return problems
