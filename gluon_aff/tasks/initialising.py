"""A run's initial weights: drawn in the order of the arrays, or each from its own name."""

from __future__ import annotations

import random
import zlib
from argparse import Namespace

import mxnet as mx
import numpy as np


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and MXNet's generators."""
    for generator in (random.seed, np.random.seed, mx.random.seed):
        generator(seed)


def initializer(options: Namespace) -> mx.init.Initializer:
    """What ``--init`` names, for arrays that have no initializer of their own."""
    return mx.init.MSRAPrelu() if options.init == "kaiming" else mx.init.Xavier()


def draw_by_name(net: mx.gluon.Block, default: mx.init.Initializer, seed: int) -> None:
    """Draw every array of an initialised network again, each from (``seed``, its structural name).

    A structural name is that of ``save_parameters``: ``features.2.0.resfwd.2.weight``. It does not depend on how many
    blocks were made before, nor do the values on which other arrays there are: networks that differ in their fusion
    start with the same host.

    Parameters
    ----------
    net : Block
        Initialised, its sizes known.
    default : Initializer
        For arrays that have none of their own; those that have one (gamma, beta, zero-initialised gammas) keep it.
    seed : int
    """
    for name, parameter in net._collect_params_with_prefix().items():
        seed_generators(array_seed(seed, name))
        parameter.initialize(None, parameter.list_ctx(), default, force_reinit=True)
    seed_generators(seed)  # what follows does not depend on the arrays either


def array_seed(seed: int, name: str) -> int:
    """The seed, 0 to 2**31 - 1, from which the array of a structural name is drawn."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF
