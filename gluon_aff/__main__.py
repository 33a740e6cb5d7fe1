"""``python -m gluon_aff``."""

from gluon_aff.cli import entry

entry()
