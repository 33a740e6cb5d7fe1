"""What is checked of a user's sizes and inputs before MXNet sees them."""

from __future__ import annotations

import warnings
from inspect import signature
from numbers import Integral
from typing import Any, List, Optional, Sequence, Type

import mxnet as mx
from mxnet.gluon import Block

from ..errors import UsageError

_warned_of_batch_of_one = False


def positive_integer(name: str, value: Any, most: Optional[int] = None) -> int:
    """``value`` as an int. Raises UsageError, which names it, unless it is a whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"{name} is {value!r}: expected a whole number of at least 1")
    if most is not None and int(value) > most:
        raise UsageError(f"{name} is {value!r}: expected at most {most}")
    return int(value)


def check_not_empty(what: str, shape: Sequence[int]) -> None:
    """Raise UsageError for an array without an element; MXNet would end in a message of its own, or in none."""
    if 0 in shape:
        raise UsageError(f"{what} is {tuple(shape)}: expected at least one image of at least one pixel")


def constructor_options(cls: Type[Block], base: Type[Block]) -> List[str]:
    """Names of the options that ``cls`` and its ancestors below ``base`` take when they are made, sorted."""
    names = {
        name
        for ancestor in cls.__mro__[: cls.__mro__.index(base)]
        for name in signature(ancestor.__init__).parameters  # type: ignore[misc]
    }
    return sorted(names - {"self", "kwargs"})


def warn_of_batch_of_one(block: Block, x: mx.nd.NDArray) -> None:
    """Warn, once, when ``block`` is about to train on a batch ``x`` (N, ...) of one image and would suffer from it.

    After a global pool BatchNorm then sees one value per channel, whose variance is zero: MXNet returns zeros and
    zero gradients without a word. The blocks inside that have such a norm say so by ``norm_behind_pool``.
    """
    global _warned_of_batch_of_one
    if _warned_of_batch_of_one or x.shape[0] != 1 or not mx.autograd.is_training():
        return
    suffer: List[bool] = []
    block.apply(lambda inner: suffer.append(getattr(inner, "norm_behind_pool", False)))
    if any(suffer):
        _warned_of_batch_of_one = True
        warnings.warn(
            "training on a batch of one image: behind the global pool BatchNorm sees one value per channel, so the "
            "global branch gives zero and learns nothing. Use at least two images per device, or "
            "norm_kwargs={'use_global_stats': True}.",
            stacklevel=3,
        )
