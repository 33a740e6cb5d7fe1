#!/usr/bin/env python
"""Train AFF, iAFF and other fusions on CIFAR-10, CIFAR-100, the handwritten digits or a folder of images.

python train_cifar.py --dataset digits
python train_cifar.py --dataset cifar100 --recipe release
examples/train_plain.py is such a training as a plain Gluon loop.
"""

from __future__ import annotations

import sys
from typing import Optional, Sequence

try:
    from gluon_aff.cli.train import script
    from gluon_aff.utils.console import run_program
except ImportError as error:  # MXNet is missing or cannot work: the message says what to run
    sys.exit(f"error: {error}")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The exit code; without ``argv`` the arguments are the command line's."""
    return script("cifar", argv)


if __name__ == "__main__":
    run_program(main)
