"""Ray behind one module: start or join a cluster, place actors, and wait with a deadline.

No other package imports ray. Actor classes are plain Python classes; their handles are called as in Ray:
`handle.method.remote(...)`, and every result is fetched with `wait`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.cluster import ray_processes
from rlvr.cluster.address import REMEDY, check_address
from rlvr.cluster.board import ACTOR, Doing, close_board, open_board, post, reports
from rlvr.cluster.calls import Calls as Calls
from rlvr.cluster.calls import R
from rlvr.cluster.calls import died_with_node as died_with_node
from rlvr.cluster.calls import outcomes as outcomes
from rlvr.cluster.calls import wait as wait
from rlvr.cluster.calls import wait_together as wait_together
from rlvr.cluster.handles import Ref
from rlvr.cluster.limits import check_processes, usable_cores
from rlvr.cluster.placement import Part, check_fit
from rlvr.cluster.remote import guarded, in_words
from rlvr.cluster.temporary import local_ray_folder, replace_unsuitable
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError, DeadlineError, RlvrError
from rlvr.timing import Deadline, standstills

log = logging.getLogger(__name__)
UNPLACED = Doing("its process starts")  # or Ray has no node for it yet


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


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running Ray cluster and whether this process started it."""

    local: bool
    log_folder: str
    cpus: float
    gpus: float
    nodes: int


def start(cfg: ClusterConfig, *, actors: int) -> Cluster:
    """Start a local Ray for `actors` actors, or join the one at `cfg.address`.

    A local cluster listens on the loopback interface only and therefore runs without Ray's token
    authentication (which would write a token file into the home folder); a joined cluster keeps its own.

    Raises:
        ConfigError: nothing answers at `cfg.address`, or Ray does not start here, or is allowed too few processes.
        DeadlineError: Ray's own processes did not come up.
        KeyboardInterrupt: SIGTERM meanwhile.
    """
    local = cfg.address == "local"
    if local:
        check_processes(actors)
    _set_environment(local=local)
    import ray

    standstills.watch()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    options |= _local_options(cfg, actors) if local else {"address": cfg.address}
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        if not local:
            check_address(cfg.address)
        context: Any = ray.init(**options)
    except SystemExit as error:
        if error.code == signal.SIGTERM:  # the handler that Ray has set meanwhile, which says nothing
            raise KeyboardInterrupt from None
        raise
    except (ConnectionError, ValueError) as error:
        if local:
            raise ConfigError(f"cluster.address=local: Ray cannot be started here ({error})") from error
        raise ConfigError(
            f"cluster.address={cfg.address}: no Ray cluster can be reached there ({error}). {REMEDY}"
        ) from error
    except Exception as error:
        # Where its own processes are not up after 30 s, or cannot be forked, Ray raises whatever comes.
        if not local or isinstance(error, RlvrError):
            raise
        raise _not_up(error, options.get("_temp_dir")) from error
    # Ray installs a native SIGTERM handler that dies with a stack trace; ours closes the run.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)
    if local:
        ray_processes.watch()
    open_board()
    resources = ray.cluster_resources()
    return Cluster(
        local=local,
        log_folder=os.path.join(context.address_info["session_dir"], "logs"),
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        nodes=len(ray.nodes()),
    )


def _set_environment(*, local: bool) -> None:
    """Set what Ray and gloo read where they are loaded; what is set already stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's own 15 leaves actors a thirtieth of a core beside any busy process of usual priority.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if local:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # gloo otherwise looks up the host's name, which fails on machines that cannot resolve their own
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    else:  # each of Ray's own tries, 20 by default, takes 40 s where something else than Ray answers
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")


def _local_options(cfg: ClusterConfig, actors: int) -> dict[str, Any]:
    """Arguments of `ray.init` for a cluster of this machine alone."""
    options: dict[str, Any] = {
        "address": "local",
        # An actor occupies one CPU slot for good; phases take turns, so slots may outnumber cores.
        "num_cpus": max(cfg.cpus or usable_cores(), actors),
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    folder, reason = local_ray_folder(os.environ)
    if folder is not None:
        log.warning(reason)
        options["_temp_dir"] = folder
    if moved := replace_unsuitable(os.environ):  # for Ray to hand it on to the actors
        log.warning(moved)
    return options


def _not_up(error: Exception, folder: str | None) -> DeadlineError:
    where = folder or "its folder (/tmp/ray unless RAY_TMPDIR or TMPDIR names another)"
    what = f"cluster.address=local: Ray did not come up here ({in_words(error).rstrip('.')})"
    if isinstance(error, OSError) and error.filename is not None:
        return DeadlineError(
            f"{what}. It keeps sockets and logs in {where}, which cannot be written: free some space there, or set "
            "RAY_TMPDIR to a folder that can."
        )
    return DeadlineError(
        f"{what}. Most often the machine is too busy, or allows too few processes or open files (ulimit -u, ulimit "
        f"-n): try again when there is room. Ray's own words are in session_latest/logs of {where}."
    )


def wait_for_nodes(address: str, names: Sequence[str], *, deadline_seconds: float) -> None:
    """Return once all nodes, named as in `ray start --node-name`, have joined the cluster at `address`.

    Raises:
        ConfigError: nothing answers there.
        DeadlineError: some have not joined in time; the message names them.
    """
    import ray

    deadline = Deadline(deadline_seconds)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"Ray at {address}: cannot be reached ({error})") from error
    while missing := sorted(set(names) - {node["NodeName"] for node in ray.nodes() if node["Alive"]}):
        if deadline.passed:
            raise DeadlineError(
                f"{', '.join(missing)}: not joined to Ray at {address} within {deadline_seconds:g} s; "
                f"{len(names) - len(missing)} of {len(names)} nodes are there"
            )
        time.sleep(0.2)
    ray.shutdown()


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


def reserve(parts: Sequence[Part], *, deadline_seconds: float) -> list[Bundle]:
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


def shutdown() -> None:
    """Leave the cluster; a local one ends with all its processes."""
    import ray

    ray_processes.forget()
    close_board()
    standstills.rest()
    if ray.is_initialized():
        ray.shutdown()


def node_address() -> str:
    """The address at which other actors can reach this process."""
    import ray

    return ray.util.get_node_ip_address()
