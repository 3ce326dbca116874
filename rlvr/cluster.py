"""Ray behind one module: start or join a cluster, place actors, and wait with a deadline.

No other module imports ray. Actor classes are plain Python classes; their handles are called as in Ray:
`handle.method.remote(...)`, and every result is fetched with `wait`.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from rlvr.config import ClusterConfig, Config
from rlvr.errors import ActorError, ConfigError, DeadlineError
from rlvr.guard import INSIDE, NAME, guarded
from rlvr.temp_folders import local_ray_folder

GRACE_SECONDS = 5.0  # for other calls to fail as well once one has


@dataclass(frozen=True, slots=True)
class Placement:
    """What one actor needs: `threads` bounds its OpenMP threads, `env` is set before it imports anything."""

    name: str
    gpus: float
    threads: int
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running Ray cluster and whether this process started it."""

    local: bool
    log_folder: str
    cpus: float
    gpus: float
    nodes: int
    why_there: str = ""  # the reason for another folder than Ray's usual one


def start(cfg: ClusterConfig, *, actors: int) -> Cluster:
    """Start a local Ray for `actors` actors, or join the one at `cfg.address`.

    A local cluster listens on the loopback interface only and therefore runs without Ray's token
    authentication (which would write a token file into the home folder); a joined cluster keeps its own.

    Raises:
        ConfigError: nothing answers at `cfg.address`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = cfg.address == "local"
    if local:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # gloo otherwise looks up the host's name, which fails on machines that cannot resolve their own
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    why_there = ""
    if local:
        cpus = cfg.cpus or os.cpu_count() or 1
        # An actor occupies one CPU slot for good; phases take turns, so slots may outnumber cores.
        options |= {
            "address": "local",
            "num_cpus": max(cpus, actors),
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
        folder, why_there = local_ray_folder()
        if folder is not None:
            options["_temp_dir"] = folder
    else:
        options["address"] = cfg.address
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        context: Any = ray.init(**options)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(
            f"cluster.address={cfg.address}: no Ray cluster can be reached there ({error}). Start one with "
            "`ray start --head`, give its host:port, or use cluster.address=local."
        ) from error
    # Ray installs a native SIGTERM handler that dies with a stack trace; ours closes the run.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)
    resources = ray.cluster_resources()
    return Cluster(
        local=local,
        log_folder=os.path.join(context.address_info["session_dir"], "logs"),
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        nodes=len(ray.nodes()),
        why_there=why_there,
    )


def wait_for_nodes(address: str, names: Sequence[str], *, deadline_seconds: float) -> None:
    """Return once all nodes, named as in `ray start --node-name`, have joined the cluster at `address`.

    Raises:
        ConfigError: nothing answers there.
        DeadlineError: some have not joined in time; the message names them.
    """
    import ray

    end = time.monotonic() + deadline_seconds
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"Ray at {address}: cannot be reached ({error})") from error
    while missing := sorted(set(names) - {node["NodeName"] for node in ray.nodes() if node["Alive"]}):
        if time.monotonic() > end:
            raise DeadlineError(
                f"{', '.join(missing)}: not joined to Ray at {address} within {deadline_seconds:g} s; "
                f"{len(names) - len(missing)} of {len(names)} nodes are there"
            )
        time.sleep(0.2)
    ray.shutdown()


def engine_gpus(cfg: Config) -> float:
    """GPUs that the rollout engines of a run ask for."""
    return cfg.rollout.engines * cfg.rollout.tensor_parallel * cfg.rollout.gpus_per_engine


def run_gpus(cfg: Config) -> float:
    """GPUs that the engines and the learner of a run ask for."""
    return engine_gpus(cfg) + cfg.learner.workers * cfg.learner.gpus_per_worker


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


def spawn(actor_class: type, placement: Placement, *args: Any) -> Any:
    """Place one actor; its constructor runs in the background, so wait for a first call before relying on it."""
    import ray

    env = {"OMP_NUM_THREADS": str(placement.threads), NAME: placement.name, **placement.env}
    remote: Any = ray.remote(guarded(actor_class)).options(
        num_cpus=1,
        num_gpus=placement.gpus,
        max_restarts=0,
        runtime_env={"env_vars": env},
    )
    return remote.remote(*args)


def wait(refs: Sequence[Any], *, deadline_seconds: float, what: str) -> list[Any]:
    """Results of the calls, in order; the first call that fails ends the wait.

    Raises:
        DeadlineError: some call was not done in time; the message has `what` and which calls are pending.
        ActorError: a process died. An exception raised inside a process is raised here as it is.
    """
    import ray

    end = time.monotonic() + deadline_seconds
    results: dict[Any, Any] = {}
    pending = list(refs)
    while pending:
        done, pending = ray.wait(
            pending, num_returns=1, timeout=max(0.0, end - time.monotonic()), fetch_local=False
        )
        if not done:
            stuck = [position for position, ref in enumerate(refs) if ref not in results]
            raise DeadlineError(
                f"{what}: {len(stuck)} of {len(refs)} calls (number {stuck}) not done within "
                f"{deadline_seconds:g} s. The process is stuck or too slow: look at its log, or raise the "
                "deadline_seconds of that part of the configuration."
            )
        try:
            results[done[0]] = ray.get(done[0])
        except Exception as error:  # whatever it is, it is told below
            raise _explained([error, *_errors_soon(pending)], what) from error
    return [results[ref] for ref in refs]


def _errors_soon(pending: list[Any]) -> list[Exception]:
    """What other calls raise shortly after one has: for the same reason, or as the reason, as a rank that died is."""
    import ray

    done, _ = ray.wait(pending, num_returns=len(pending), timeout=GRACE_SECONDS) if pending else ([], [])
    errors: list[Exception] = []
    for ref in done:
        try:
            ray.get(ref)
        except Exception as error:
            errors.append(error)
    return errors


def _explained(errors: Sequence[Exception], what: str) -> Exception:
    """The error to raise for calls that failed together: a lost process explains more than what it left behind."""
    import ray

    for error in errors:
        if isinstance(error, ray.exceptions.RayActorError):
            return ActorError(
                f"{what}: the process behind it died ({str(error).strip().splitlines()[0]}). Often it ran out of "
                "memory; Ray's log folder, named at the start of the run, has its last words."
            )
    first = errors[0]
    cause = first.cause if isinstance(first, ray.exceptions.RayTaskError) else first
    if not isinstance(cause, Exception):
        return ActorError(f"{what}: {first}")
    cause.add_note(f"{INSIDE}{what})")
    return cause


def put(value: Any) -> Any:
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

    if ray.is_initialized():
        ray.shutdown()


def node_address() -> str:
    """The address at which other actors can reach this process."""
    import ray

    return ray.util.get_node_ip_address()


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def idle_cores() -> tuple[int, int]:
    """(cores that nobody else is using, all cores that this process may use), looked at for half a second.

    OpenMP threads that outnumber idle cores wait for each other: measured on two cores with other work going
    on, a training step with two threads took five to ten times as long as with one.
    """
    cores = len(os.sched_getaffinity(0))
    busy = psutil.cpu_percent(interval=0.5) / 100 * (psutil.cpu_count() or cores)
    return max(1, round(cores - busy)), cores


def threads_per_actor(cfg: ClusterConfig, *, busy_together: int) -> int:
    """OpenMP threads for each of `busy_together` actors that share the cores of one node."""
    if cfg.threads_per_actor is not None:
        return cfg.threads_per_actor
    cores = cfg.cpus or len(os.sched_getaffinity(0))
    return max(1, cores // max(1, busy_together))
