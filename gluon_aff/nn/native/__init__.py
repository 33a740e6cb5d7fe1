"""The native operator of MS-CAM's fusions: built by the machine's own compiler, kept in a cache, loaded if it is there.

``source/`` holds its C++; ``gluon_aff.nn.attending`` says where blocks use it. Nothing here must ever fail an import or
a training: without a compiler, or with a damaged cache, the blocks compute the same in Python's operators.
"""

from .building import VARIABLE, Entry, State, build, clean, compiler, entry, switched_off
from .loading import install, prepare

__all__ = [
    "VARIABLE",
    "Entry",
    "State",
    "build",
    "clean",
    "compiler",
    "entry",
    "install",
    "prepare",
    "switched_off",
]
