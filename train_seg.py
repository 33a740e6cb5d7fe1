#!/usr/bin/env python
"""Train AFF-FPN, iAFF-FPN and others to find stop signs in COCO, small targets in SIRST, or what your masks mark.

python train_seg.py --dataset shapes
python train_seg.py --dataset sirst --data-dir sirst.zip --recipe acm
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Optional, Sequence

try:
    from gluon_aff.models.summary import describe
    from gluon_aff.tasks import seg, seg_scoring
    from gluon_aff.tasks.options.seg import model_name
    from gluon_aff.tasks.parts import show_schedule
    from gluon_aff.utils import console
except ImportError as error:  # MXNet is missing or cannot work: the message says what to run
    sys.exit(f"error: {error}")


def parse_args(argv: Optional[Sequence[str]] = None) -> Namespace:
    """All options, complete; see ``--help``."""
    return seg_scoring.parse_options(argv)


def main(argv: Optional[Sequence[str]] = None) -> int:
    options = parse_args(argv)
    if options.print_recipe:
        print(seg.TASK.recipe_text(options), end="")
        return 0
    if options.summary:
        print(describe(seg.build_network(options), (1, 3, options.crop_size, options.crop_size)))
        return 0
    if options.eval or options.predict:
        return seg_scoring.score_and_predict(options)
    if options.dry_run:
        return show_schedule(seg.schedule_of(options), model_name(options), options)
    return seg.train(options).exit_code


if __name__ == "__main__":
    sys.exit(console.run(main))
