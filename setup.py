"""Installation: every pin that makes MXNet 1.9.1, GluonCV and NumPy resolve in one pip call is here, and only here."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
DATA_SUFFIXES = {
    ".cc",
    ".csv",
    ".gz",
    ".h",
    ".json",
    ".jsonl",
    ".md",
    ".yaml",
}  # no weights

CORE = [
    # MXNet 1.9.1 uses names that NumPy 1.24 dropped; on Python 3.12, which has no older NumPy, we put them back.
    'numpy>=1.19,<1.24; python_version < "3.12"',
    'numpy>=1.26,<2; python_version >= "3.12"',
    "gluoncv==0.10.5.post0",
    "opencv-python>=4.5,<4.12",  # 4.12 wants NumPy 2, 5.0 breaks GluonCV's drawing
    "matplotlib>=3.5,<4",
    "Pillow>=9.1,<14",
    "PyYAML>=5.4,<7",
    "requests>=2.20,<3",
    "scikit-learn>=1.0,<2",
    "scipy>=1.7,<2",
    "tqdm>=4.60,<5",
]

CUDA_LIBRARIES = [  # what libmxnet.so of mxnet-cu112 links against
    "nvidia-cuda-runtime-cu11==11.8.89",
    "nvidia-cuda-nvrtc-cu11==11.8.89",
    "nvidia-nvtx-cu11==11.8.86",
    "nvidia-cublas-cu11==11.11.3.6",
    "nvidia-cufft-cu11==10.9.0.58",
    "nvidia-curand-cu11==10.3.0.86",
    "nvidia-cusparse-cu11==11.7.5.86",
    "nvidia-cusolver-cu11==11.4.1.48",
    "nvidia-nccl-cu11==2.21.5",
    "nvidia-cudnn-cu11==8.9.6.50",
]

COCO = ["pycocotools>=2.0.7,<2.1"]  # masks of polygons and run lengths; 2.0.7 is the last for Python 3.8

# Targets found and false alarms; scikit-image 0.25 wants NumPy 1.24
IRST = ["pyirstdmetrics>=1.0.2,<2", "scikit-image>=0.19,<0.25"]

TENSORBOARD = ["tensorboardX>=2.6,<3"]

# MXNet's exporter needs onnx.mapping, which newer ONNX has not; 1.17 has it, and wheels for Python 3.8 to 3.12
ONNX = ["onnx>=1.14.1,<1.18", "onnxruntime>=1.16,<2"]

OPENVINO = ["openvino>=2024.0"]  # 2024.4 is the last for Python 3.8, 2025.3 for 3.9; all take NumPy 1

# What `benchmarks/speed.py --against` measures beside MXNet; ONNX carries PyTorch's networks over.
AGAINST = [*ONNX, *OPENVINO, "torch==2.13.0"]

EXTRAS = {
    "against": AGAINST,
    "cpu": ["mxnet==1.9.1"],
    "cu112": ["mxnet-cu112==1.9.1", *CUDA_LIBRARIES],
    "coco": COCO,
    "irst": IRST,
    "onnx": [*ONNX, *OPENVINO],
    "tensorboard": TENSORBOARD,
    "licences": ['pip-licenses==5.5.1; python_version >= "3.9"'],  # docs/install.md
    # ruff and mypy to the dot: another release formats and judges differently; mypy 1.14 is the last for Python 3.8
    "test": [
        *COCO,
        *IRST,
        *ONNX,
        *TENSORBOARD,
        "pytest>=7,<10",
        "pytest-cov>=4,<8",
        "pytest-xdist>=3,<4",  # 3.6 is the last for Python 3.8
        "hypothesis>=6.100,<7",  # 6.113 is the last for Python 3.8
        "ruff==0.17.6",
        "mypy==1.14.1",
        "types-PyYAML>=6,<7",
        "types-requests>=2.31,<3",
    ],
}


def read_version() -> str:
    """The version in gluon_aff/_version.py, read as text: importing the package needs MXNet."""
    source = (ROOT / "gluon_aff" / "_version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE).group(1)


def read_readme() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


def data_files(folder: str) -> list:
    base = ROOT / folder
    return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.suffix in DATA_SUFFIXES)


setup(
    name="gluon_aff",
    version=read_version(),
    description="Attentional Feature Fusion (AFF, iAFF, MS-CAM) for Apache MXNet/Gluon",
    author="gluon_aff contributors",
    keywords="attentional feature fusion, AFF, iAFF, MS-CAM, attention, ResNet, ResNeXt, FPN, MXNet, Gluon",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(8, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.8,<3.13",
    packages=[*find_packages(include=["gluon_aff", "gluon_aff.*"]), "gluon_aff.params"],
    package_dir={"gluon_aff.params": "params"},
    package_data={"gluon_aff": [*data_files("gluon_aff"), "py.typed"], "gluon_aff.params": data_files("params")},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["gluon-aff = gluon_aff.cli.main:entry"]},
)
