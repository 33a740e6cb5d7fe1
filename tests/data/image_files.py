"""Small image files and sets of them for tests."""

import io

import numpy as np
from PIL import Image

WNIDS = [f"n{number:08d}" for number in range(10)]
SIZES = [(40, 30), (30, 40), (64, 64), (17, 50), (100, 21)]  # width, height


def photograph(number, size=None):
    """Smooth, of its own colours and shape."""
    small = Image.fromarray(np.random.RandomState(number).randint(0, 256, (5, 5, 3), dtype=np.uint8))
    return small.resize(size or SIZES[number % len(SIZES)], Image.BICUBIC)


def saved(image, kind="JPEG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def jpeg(number, mode="RGB", size=None):
    return saved(photograph(number, size).convert(mode), quality=90)


def write_folder(root, classes, per_class=2, size=None):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            (root / name / f"{name}_{i}.JPEG").write_bytes(jpeg(7 * number + i, size=size))
    return root
