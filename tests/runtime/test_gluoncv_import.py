"""Importing GluonCV must not change what other code does. In a process of its own: the import happens once."""

import subprocess
import sys

PROGRAM = """
import gluon_aff
from PIL import ImageFile
from gluon_aff.training import Schedule
Schedule("cosine", 0.1, 2, 2)
assert "gluoncv" in __import__("sys").modules
print(ImageFile.LOAD_TRUNCATED_IMAGES)
"""


def test_images_that_are_cut_short_are_still_refused():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False"], done.stderr
