"""Classifiers of GluonCV's model zoo, as baselines and teachers."""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

import mxnet as mx

from ..errors import GluonAFFError, UsageError, last_line
from ..models import list_models
from ..runtime.gluoncv import import_gluoncv

PREFIX = "gluoncv:"  # before a name that one of our networks has as well
_SIZES = (224, 299, 331)


class ZooNetwork(NamedTuple):
    """A classifier of the zoo: its name there, outputs, and the height and width of its images."""

    net: mx.gluon.HybridBlock
    name: str
    outputs: int
    size: int


def is_zoo_name(name: str) -> bool:
    """Whether a network is to be looked for in GluonCV's zoo rather than among ours."""
    return name.startswith(PREFIX) or name not in list_models()


def zoo_network(name: str, file: Path, classes: Optional[int], devices: List[mx.Context]) -> ZooNetwork:
    """A classifier of the zoo with the weights of a local file. Nothing is downloaded.

    Parameters
    ----------
    name : str
        GluonCV's, "gluoncv:" before it or not.
    file : Path
        As ``save_parameters`` of that network wrote it, in any type.
    classes : int, optional
        Outputs, where they are not those of the zoo's data set.
    devices : list of Context

    Raises
    ------
    UsageError
        For a name that the zoo has not, weights that do not fit, and what does not classify images.
    """
    zoo = import_gluoncv("gluoncv.model_zoo")
    bare = name[len(PREFIX) :] if name.startswith(PREFIX) else name
    settings = {"classes": classes} if classes else {}
    try:
        net = zoo.get_model(bare, pretrained=False, **settings)
    except ValueError:  # its message is a list of hundreds of names
        raise UsageError(f"{name} is neither a name of `gluon-aff models` nor one of GluonCV's model zoo") from None
    except TypeError as error:
        raise UsageError(f"GluonCV's {bare} cannot be made with {settings}: {error}") from None
    try:
        net.load_parameters(str(file), ctx=devices, cast_dtype=True, dtype_source="current")
    except (AssertionError, ValueError, OSError, mx.MXNetError) as error:
        raise UsageError(f"{file} does not fit GluonCV's {bare}: {last_line(error)}") from None
    return ZooNetwork(net, bare, *_zoo_outputs(net, bare))


def _zoo_outputs(net: mx.gluon.HybridBlock, name: str) -> Tuple[int, int]:
    """(outputs, size of its images). Raises UsageError when it gives no logits (N, classes)."""
    device = next(iter(net.collect_params().values())).list_ctx()[0]
    for size in (32,) if name.startswith("cifar_") else _SIZES:
        try:
            found = net(mx.nd.zeros((1, 3, size, size), ctx=device))
            shape: Sequence[int] = getattr(found, "shape", ())
        except (mx.MXNetError, ValueError):
            continue
        if len(shape) == 2:
            return int(shape[1]), size
        break
    raise UsageError(f"GluonCV's {name} does not give class logits (N, classes): only classifiers can be opened")


def pretrained_zoo_network(name: str, devices: List[mx.Context]) -> mx.gluon.HybridBlock:
    """A network of the zoo with GluonCV's own weights, which it fetches.

    Raises UsageError for a name that the zoo has not, GluonAFFError when the weights cannot be had.
    """
    zoo = import_gluoncv("gluoncv.model_zoo")
    try:
        return zoo.get_model(name, pretrained=True, ctx=devices)
    except ValueError:  # its message is a list of hundreds of names
        raise UsageError(
            f"--teacher {name} is neither a file, an id of `gluon-aff published list`, one of `gluon-aff models` nor a "
            "network of GluonCV's model zoo"
        ) from None
    except Exception as error:  # no connection, a damaged download, a name without weights: each has its own kind
        raise GluonAFFError(f"GluonCV cannot give the weights of --teacher {name}: {last_line(error)}") from error
