"""CUDA 11 for the GPU wheel: load its libraries from NVIDIA's wheels, ask the driver what the GPUs are.

Loading opens files and nothing else; the GPU is first touched by `capabilities`.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import List, Optional, Tuple

DRIVER = "libcuda.so.1"

# (folder under nvidia/, library): each only needs those above it.
LIBRARIES = (
    ("cuda_runtime", "libcudart.so.11.0"),
    ("cuda_nvrtc", "libnvrtc.so.11.2"),
    ("nvtx", "libnvToolsExt.so.1"),
    ("cublas", "libcublasLt.so.11"),
    ("cublas", "libcublas.so.11"),
    ("cufft", "libcufft.so.10"),
    ("curand", "libcurand.so.10"),
    ("cusparse", "libcusparse.so.11"),
    ("cusolver", "libcusolver.so.11"),
    ("nccl", "libnccl.so.2"),
    ("cudnn", "libcudnn_ops_infer.so.8"),
    ("cudnn", "libcudnn.so.8"),
)

# the wheel holds sm_50, 60, 70, 80 and 86 and no PTX: code runs within its major version
OLDEST, NEWEST = (5, 0), (8, 9)

_ATTRIBUTE_MAJOR, _ATTRIBUTE_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


class LibraryMissing(OSError):
    """The shared library ``library`` could not be loaded; the text is the loader's."""

    def __init__(self, library: str, reason: str) -> None:
        super().__init__(reason)
        self.library = library


def package_of(library: Optional[str]) -> Optional[str]:
    """The package on the index that brings a CUDA library: 'libnccl.so.2' -> 'nvidia-nccl-cu11'."""
    return next((f"nvidia-{folder.replace('_', '-')}-cu11" for folder, name in LIBRARIES if name == library), None)


def preload() -> None:
    """Load every library that libmxnet.so of mxnet-cu112 needs, and the driver's, so that the linker finds them loaded.

    Those of the installed wheels come first, then whatever the system's loader knows. Raises LibraryMissing.
    """
    spec = importlib.util.find_spec("nvidia")
    wheels = (spec and spec.submodule_search_locations) or ()
    for folder, name in (*LIBRARIES, ("", DRIVER)):
        paths = [Path(place, folder, "lib", name) for place in wheels]
        try:
            ctypes.CDLL(next((str(path) for path in paths if path.exists()), name), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise LibraryMissing(name, str(error)) from None


def capabilities() -> List[Tuple[int, int]]:
    """Compute capability (major, minor) of every GPU that the driver shows, in MXNet's order; [] without a driver."""
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError:
        return []
    count, device = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    found = []
    for index in range(count.value):
        major, minor = ctypes.c_int(), ctypes.c_int()
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetAttribute(ctypes.byref(major), _ATTRIBUTE_MAJOR, device)
        cuda.cuDeviceGetAttribute(ctypes.byref(minor), _ATTRIBUTE_MINOR, device)
        found.append((major.value, minor.value))
    return found


def unsupported(capability: Tuple[int, int]) -> Optional[str]:
    """Why the wheel's code cannot run on a GPU of this compute capability; None when it can."""
    if OLDEST <= capability <= NEWEST:
        return None
    age = "newer" if capability > NEWEST else "older"
    return (
        f"it is sm_{capability[0]}{capability[1]}, {age} than the CUDA code in MXNet 1.9.1, "
        f"which runs on sm_{OLDEST[0]}{OLDEST[1]} to sm_{NEWEST[0]}{NEWEST[1]}"
    )
