"""Pictures that are no data set: which ones a user names, and how a network is shown one."""

from .files import Picture, Pictures, find_pictures
from .network_input import NetworkInput

__all__ = ["NetworkInput", "Picture", "Pictures", "find_pictures"]
