#!/usr/bin/env python
"""Train AFF, iAFF and other fusions in ResNets and ResNeXts on ImageNet, from image files or from records.

python train_imagenet.py --data-dir imagenet --recipe release
python train_imagenet.py --data-dir photos --recipe finetune --use-pretrained RUN
python train_imagenet.py --use-rec --rec-train train.rec --rec-val val.rec --recipe release --model resnext
examples/train_plain.py is a training as a plain Gluon loop.
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
    return script("imagenet", argv)


if __name__ == "__main__":
    run_program(main)
