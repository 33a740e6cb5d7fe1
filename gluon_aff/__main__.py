"""``python -m gluon_aff``."""

from .cli.main import entry

entry()
