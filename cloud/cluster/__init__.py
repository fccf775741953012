"""A private PostgreSQL: found, made, started, watched and stopped by us."""

from cloud.cluster.private import ClusterOptions, PrivateCluster
from cloud.cluster.programs import Places, Programs, find_programs

__all__ = ["ClusterOptions", "Places", "PrivateCluster", "Programs", "find_programs"]
