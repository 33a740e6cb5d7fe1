"""Importing GluonCV must not change what other code does. In a process of its own: the import happens once."""

import importlib

import pytest
from script_runs import in_a_process

from gluon_aff.errors import GluonAFFError
from gluon_aff.runtime.importing import import_gluoncv

PROGRAM = """
import gluon_aff
from PIL import ImageFile
from gluon_aff.training import Schedule
Schedule("cosine", 0.1, 2, 2)
assert "gluoncv" in __import__("sys").modules
print(ImageFile.LOAD_TRUNCATED_IMAGES)
"""


def test_images_that_are_cut_short_are_still_refused():
    done = in_a_process(PROGRAM)
    assert done.stdout.split() == ["False"], done.stderr


def test_without_a_place_for_temporary_files_it_says_what_to_do(monkeypatch):
    def no_place(name):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(importlib, "import_module", no_place)
    with pytest.raises(GluonAFFError, match="No usable temporary directory.*set TMPDIR"):
        import_gluoncv("gluoncv.utils")
