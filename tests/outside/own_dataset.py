"""A classification data set of one's own: bars, lying or standing.

python own_dataset.py train cifar --dataset bars
python own_dataset.py evaluate --weights runs/bars-cifar_aff_resnet8-0
"""

import numpy as np

from gluon_aff.cli.main import entry
from gluon_aff.data import ImageDataset, ImageSet, register_dataset


def load(request):
    """Bars on noise; ``request.split`` is "train" or "test"."""
    random = np.random.RandomState(request.split == "test")
    images = random.randint(0, 100, (200, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(200) % 2
    for image, label in zip(images, labels):
        at = random.randint(4, 26)
        bar = image[at : at + 3] if label == 0 else image[:, at : at + 3]
        bar[...] = 220
    return ImageSet(images, labels, ("lying", "standing"), name="bars", source="drawn")


register_dataset(ImageDataset("bars", load, classes={"fine": ("lying", "standing")}, size=32))

if __name__ == "__main__":
    entry()
