#!/usr/bin/env python
"""Train AFF, iAFF and other fusions in ResNets and ResNeXts on ImageNet, from image files or from records.

python train_imagenet.py --data-dir imagenet --recipe release
python train_imagenet.py --use-rec --rec-train train.rec --rec-val val.rec --recipe release --model resnext
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Optional, Sequence

try:
    from gluon_aff.models.summary import describe
    from gluon_aff.tasks import imagenet
    from gluon_aff.tasks.options import imagenet as imagenet_options
    from gluon_aff.tasks.parts import show_schedule
    from gluon_aff.utils import console
except ImportError as error:  # MXNet is missing or cannot work: the message says what to run
    sys.exit(f"error: {error}")


def parse_args(argv: Optional[Sequence[str]] = None) -> Namespace:
    """All options, complete; see ``--help``."""
    return imagenet.parse_options(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    options = parse_args(argv)
    if options.print_recipe:
        print(imagenet.TASK.recipe_text(options), end="")
        return 0
    if options.summary:
        size = options.input_size
        print(describe(imagenet.build_network(options), (1, 3, size, size)))
        return 0
    if options.dry_run:
        return show_schedule(imagenet.schedule_of(options), imagenet_options.model_name(options), options)
    return imagenet.train(options).exit_code


if __name__ == "__main__":
    sys.exit(console.run(main))
