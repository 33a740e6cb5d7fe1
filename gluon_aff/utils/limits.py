"""Sizes beyond which an option is a slip of the keyboard."""

from __future__ import annotations

#: The widest and highest that images may be resized to, in pixels.
MAX_SIDE = 8192
