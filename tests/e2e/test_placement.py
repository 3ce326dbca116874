"""Ray's placement groups on GPUs that Ray only believes in: reserved together, each actor on its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray

from rlvr import cluster
from rlvr.cluster.placement import GpuNeed
from rlvr.errors import ConfigError, DeadlineError

pytestmark = pytest.mark.e2e


class Shows:
    """Says which GPUs it was given."""

    def gpus(self) -> str:
        return os.environ.get("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="module")
def four_gpus() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=6, num_gpus=4, include_dashboard=False, log_to_driver=False)
    yield
    cluster.shutdown()


def spawn(part: GpuNeed, bundle: cluster.Bundle) -> object:
    return cluster.spawn(Shows, cluster.Placement(part.name, part.gpus, 1, bundle=bundle))


def test_actors_get_the_gpus_that_were_set_apart_and_others_wait(four_gpus: None) -> None:
    assert cluster.reserve([], deadline_seconds=1) == []
    with pytest.raises(ConfigError, match="engine-0 needs 8 GPUs on one node"):
        cluster.reserve([GpuNeed("engine-0", 8)], deadline_seconds=1)
    parts = [GpuNeed("engine-0", 2), GpuNeed("learner-0", 1), GpuNeed("learner-1", 1)]
    bundles = cluster.reserve(parts, deadline_seconds=60)
    with pytest.raises(DeadlineError, match=r"1 GPUs were not free together within 2 s"):
        cluster.reserve([GpuNeed("learner-0", 1)], deadline_seconds=2)
    handles = [spawn(part, bundle) for part, bundle in zip(parts, bundles, strict=True)]
    calls = [handle.gpus.remote() for handle in handles]
    seen = [answer.split(",") for answer in cluster.wait(calls, deadline_seconds=60, what="start")]
    assert [len(gpus) for gpus in seen] == [2, 1, 1]
    assert len({gpu for gpus in seen for gpu in gpus}) == 4
    cluster.kill(handles)
