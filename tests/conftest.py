"""Imported before every test module, so that gluon_aff makes MXNet importable before a test imports MXNet itself."""

import gluon_aff  # noqa: F401
