"""Starting the processes of a training run on several machines, watching them, and leaving none behind."""

from .host_file import Host, read_hosts
from .plan import Member, crowded, make_plan
from .watch import launch

__all__ = ["Host", "Member", "crowded", "launch", "make_plan", "read_hosts"]
