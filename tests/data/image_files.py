"""Small image files, and folders, zips and tars of given contents, {name: bytes}."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from gluon_aff.errors import GluonAFFError

WNIDS = [f"n{number:08d}" for number in range(10)]
SIZES = [(40, 30), (30, 40), (64, 64), (17, 50), (100, 21)]  # width, height


def photograph(number, size=None):
    """Smooth, of its own colours and shape."""
    small = Image.fromarray(np.random.RandomState(number).randint(0, 256, (5, 5, 3), dtype=np.uint8))
    return small.resize(size or SIZES[number % len(SIZES)], Image.BICUBIC)


def encoded(image, kind="PNG", **options):
    """The file of an array or a Pillow image."""
    content = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(content, kind, **options)
    return content.getvalue()


def jpeg(number, mode="RGB", size=None):
    return encoded(photograph(number, size).convert(mode), "JPEG", quality=90)


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tar_of(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, member in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(member)
            archive.addfile(entry, io.BytesIO(member))
    return content.getvalue()


def write_folder(root, classes, per_class=2, size=None):
    images = [(n, name, i) for n, name in enumerate(classes) for i in range(per_class)]
    return write(root, {f"{name}/{name}_{i}.JPEG": jpeg(7 * n + i, size=size) for n, name, i in images})


def images_of(source):
    """All of a source's images, in order."""
    return [source.encoded(number) for number in range(len(source))]


def message_of(call, *args, **options):
    """The one line of a GluonAFFError."""
    with pytest.raises(GluonAFFError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
