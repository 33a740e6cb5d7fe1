"""Starting the processes of a training run on several machines, watching them, and leaving none behind."""

from .cluster import Host, Node, cluster_nodes, read_hosts
from .launcher import launch

__all__ = ["Host", "Node", "cluster_nodes", "launch", "read_hosts"]
