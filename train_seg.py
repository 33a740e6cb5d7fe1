#!/usr/bin/env python
"""Train AFF-FPN, iAFF-FPN and others to find stop signs in COCO, small targets in SIRST, or what your masks mark.

python train_seg.py --dataset shapes
python train_seg.py --dataset sirst --data-dir sirst.zip --recipe acm
examples/own_segmentation_network.py trains a network of your own in the same way.
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
    return script("seg", argv)


if __name__ == "__main__":
    run_program(main)
