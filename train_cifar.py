#!/usr/bin/env python
"""Train AFF, iAFF and other fusions on CIFAR-10, CIFAR-100, the handwritten digits or a folder of images.

python train_cifar.py --dataset digits
python train_cifar.py --dataset cifar100 --recipe release
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Optional, Sequence

try:
    from gluon_aff.models.summary import describe
    from gluon_aff.tasks import cifar
    from gluon_aff.tasks.options import cifar as cifar_options
    from gluon_aff.tasks.parts import show_schedule
    from gluon_aff.utils import console
except ImportError as error:  # MXNet is missing or cannot work: the message says what to run
    sys.exit(f"error: {error}")


def parse_args(argv: Optional[Sequence[str]] = None) -> Namespace:
    """All options, complete; see ``--help``."""
    return cifar.parse_options(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    options = parse_args(argv)
    if options.print_recipe:
        print(cifar.TASK.recipe_text(options), end="")
        return 0
    if options.summary:
        size = options.resize or 32
        print(describe(cifar.build_network(options), (1, 3, size, size)))
        return 0
    if options.dry_run:
        return show_schedule(cifar.schedule_of(options), cifar_options.model_name(options), options)
    return cifar.train(options).exit_code


if __name__ == "__main__":
    sys.exit(console.run(main))
