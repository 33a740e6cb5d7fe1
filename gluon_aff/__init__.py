"""Attentional Feature Fusion (AFF, iAFF, MS-CAM; Dai et al., WACV 2021) for Apache MXNet/Gluon."""

from __future__ import annotations

from . import _mxnet

_mxnet.load()  # raises a GluonAFFError that says what to run when MXNet cannot work here

__version__ = "0.1.0"
