"""Pictures for a network of any source, and what it makes of them: Grad-CAM and fusion weights as files and sheets."""

from .pictures import Picture, Pictures, find_pictures
from .seen import Seen, see
from .viewed import Viewed, open_viewed

__all__ = ["Picture", "Pictures", "Seen", "Viewed", "find_pictures", "open_viewed", "see"]
