"""Ray behind one module: start or join a cluster, place actors, and wait with a deadline.

No other package imports ray. Actor classes are plain Python classes; their handles are called as in Ray:
`handle.method.remote(...)`, and every result is fetched with `wait`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.cluster.board import ACTOR, UNPLACED, post, reports
from rlvr.cluster.calls import Calls as Calls
from rlvr.cluster.calls import R
from rlvr.cluster.calls import died_with_node as died_with_node
from rlvr.cluster.calls import outcomes as outcomes
from rlvr.cluster.calls import wait as wait
from rlvr.cluster.calls import wait_together as wait_together
from rlvr.cluster.handles import Ref
from rlvr.cluster.placement import GpuNeed, check_fit
from rlvr.cluster.remote import guarded
from rlvr.cluster.starting import Cluster as Cluster
from rlvr.cluster.starting import check_machine as check_machine
from rlvr.cluster.starting import shutdown as shutdown
from rlvr.cluster.starting import start as start
from rlvr.cluster.starting import wait_for_nodes as wait_for_nodes
from rlvr.errors import ConfigError, DeadlineError


@dataclass(frozen=True, slots=True)
class Bundle:
    """GPUs of one node, set apart for one actor."""

    group: Any  # Ray's placement group
    index: int


@dataclass(frozen=True, slots=True)
class Placement:
    """What one actor needs: `threads` bounds its OpenMP threads, `env` is set before it imports anything."""

    name: str
    gpus: float
    threads: int
    env: dict[str, str] = field(default_factory=dict)
    cpus: int = 1  # slots of Ray's count
    node: str | None = None  # Ray's id of the only node where it may run; None: any
    bundle: Bundle | None = None  # GPUs that `reserve` has set apart for it


def check_resources(cluster: Cluster, *, gpus: float, actors: int) -> None:
    """Refuse a request that Ray would wait on for ever.

    Raises:
        ConfigError: more GPUs or CPU slots are asked for than the cluster has.
    """
    if gpus > cluster.gpus:
        raise ConfigError(
            f"rollout.gpus_per_engine and learner.gpus_per_worker ask for {gpus:g} GPUs, the Ray cluster has "
            f"{cluster.gpus:g} on {cluster.nodes} node(s). Lower them, or run where the GPUs are "
            "(cluster=local runs on CPU)."
        )
    if actors > cluster.cpus:
        raise ConfigError(
            f"{actors} actors (rollout.engines + learner.workers) need one CPU slot each, the Ray cluster has "
            f"{cluster.cpus:g}. Lower them or join a larger cluster."
        )


def spawn(actor_class: type, placement: Placement, *args: object) -> Any:
    """Place one actor; its constructor runs in the background, and if that fails the first call raises why.

    Returns its handle, of the type that the caller states.
    """
    import ray

    env = {"OMP_NUM_THREADS": str(placement.threads), ACTOR: placement.name, **placement.env}
    options: dict[str, Any] = {
        "num_cpus": placement.cpus,
        "num_gpus": placement.gpus,
        "max_restarts": 0,
        "runtime_env": {"env_vars": env},
    }
    if placement.node is not None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(placement.node, soft=False)
    if placement.bundle is not None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
            placement.bundle.group, placement.bundle.index
        )
    post(placement.name, UNPLACED)
    remote: Any = ray.remote(guarded(actor_class)).options(**options)
    return remote.remote(*args)


def reserve(parts: Sequence[GpuNeed], *, deadline_seconds: float) -> list[Bundle]:
    """Set apart the GPUs of all parts at once, each part's on one node; the run's end frees them.

    Raises:
        ConfigError: they do not fit on the nodes of this cluster.
        DeadlineError: others held GPUs for all that time.
    """
    if not parts:
        return []
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    nodes = [node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"]]
    check_fit([gpus for gpus in nodes if gpus], parts)
    group = placement_group([{"GPU": part.gpus, "CPU": part.actors} for part in parts], strategy="PACK")
    if not group.wait(deadline_seconds):
        remove_placement_group(group)
        raise DeadlineError(
            f"{sum(part.gpus for part in parts):g} GPUs were not free together within {deadline_seconds:g} s "
            "(cluster.start_deadline_seconds): others use the Ray cluster. Wait for them, or ask for less."
        )
    return [Bundle(group, index) for index in range(len(parts))]


def room() -> str:
    """The nodes that are left of the cluster, and what they have."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots, gpus = (sum(node.get(kind, 0.0) for node in alive) for kind in ("CPU", "GPU"))
    return f"{len(alive)} node(s) with {slots:g} CPU slots and {gpus:g} GPUs"


def is_placed(name: str) -> bool:
    """Whether the actor that was spawned last under this name has reported anything yet (`rlvr.cluster.board`)."""
    return reports().get(name) != UNPLACED


def node_ids() -> list[str]:
    """Ray's ids of the nodes of the cluster that are alive."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def put(value: R) -> Ref[R]:
    """Store a value once for several actors."""
    import ray

    return ray.put(value)


def kill(handles: Sequence[Any]) -> None:
    """End actors at once."""
    import ray

    for handle in handles:
        ray.kill(handle)


def node_address() -> str:
    """The address at which other actors can reach this process."""
    import ray

    return ray.util.get_node_ip_address()
