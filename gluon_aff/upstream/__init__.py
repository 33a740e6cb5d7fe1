"""The names of the authors' release, so that a script of theirs or yours changes its imports and nothing else.

Its ``model``, ``model.fusion`` and ``utils`` are ``gluon_aff.upstream.model``, ``gluon_aff.upstream.model.fusion`` and
``gluon_aff.upstream.utils``; all names are here as well. Arguments have the authors' names, order and defaults;
keywords that theirs did not know either are ignored. Networks come uninitialised, with the structural names of the
published files, and compute what those of `gluon_aff.create_model` do. For new code that is the better way: it checks
what it is given, and takes every strategy and both generations.
"""

from .model import AFFResNet as AFFResNet
from .model import AFFResNeXt as AFFResNeXt
from .model import CIFARAFFResNet as CIFARAFFResNet
from .model import CIFARAFFResNeXt as CIFARAFFResNeXt
from .model.fusion import ASKCFuse as ASKCFuse
from .model.fusion import DirectAddFuse as DirectAddFuse
from .model.fusion import ResGlobLocaforGlobLocaChaFuse as ResGlobLocaforGlobLocaChaFuse
from .utils import summary as summary
