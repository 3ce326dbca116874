"""What a run asks of the cluster: refused where Ray would wait for ever, and threads shared out."""

from __future__ import annotations

import pytest

from rlvr.cluster import Cluster, check_resources
from rlvr.cluster.machine import threads_per_actor
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError


def test_requests_that_ray_would_wait_on_for_ever_are_refused():
    cluster = Cluster(local=True, log_folder="", cpus=4, gpus=1, nodes=1)
    check_resources(cluster, gpus=1, actors=4)
    with pytest.raises(ConfigError, match=r"rollout\.gpus_per_engine.*ask for 2 GPUs.*has 1 on 1 node"):
        check_resources(cluster, gpus=2, actors=1)
    with pytest.raises(ConfigError, match=r"5 actors .*has 4"):
        check_resources(cluster, gpus=0, actors=5)


def test_threads_are_shared_out():
    assert threads_per_actor(ClusterConfig(cpus=8), busy_together=2) == 4
    assert threads_per_actor(ClusterConfig(cpus=2), busy_together=3) == 1
    assert threads_per_actor(ClusterConfig(cpus=8, threads_per_actor=3), busy_together=2) == 3
