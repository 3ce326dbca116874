"""Ray's own processes on this machine or elsewhere: start them or join them, and leave them again."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.cluster import ray_processes
from rlvr.cluster.address import REMEDY, check_address
from rlvr.cluster.board import close_board, open_board
from rlvr.cluster.limits import check_processes, usable_cores
from rlvr.cluster.prerequisites import LOOPBACK, check_prerequisites
from rlvr.cluster.remote import in_words
from rlvr.cluster.temporary import local_ray_folder, replace_unsuitable
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError, DeadlineError, RlvrError
from rlvr.timing import Deadline, standstills

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running Ray cluster and whether this process started it."""

    local: bool
    log_folder: str
    cpus: float
    gpus: float
    nodes: int


def check_machine(cfg: ClusterConfig, *, actors: int) -> None:
    """Refuse a machine on which no Ray for `actors` actors can start; one that joins a cluster starts none.

    Raises:
        ConfigError: it lacks something that Ray needs.
    """
    if cfg.address == "local":
        check_prerequisites()
        check_processes(actors)


def start(cfg: ClusterConfig, *, actors: int) -> Cluster:
    """Start a local Ray for `actors` actors, or join the one at `cfg.address`.

    A local cluster listens on the loopback interface only and therefore runs without Ray's token
    authentication (which would write a token file into the home folder); a joined cluster keeps its own.

    Raises:
        ConfigError: nothing answers at `cfg.address`, or Ray does not start here, or lacks what it needs.
        DeadlineError: Ray's own processes did not come up.
        KeyboardInterrupt: SIGTERM meanwhile.
    """
    local = cfg.address == "local"
    check_machine(cfg, actors=actors)
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
    set_ray_defaults()
    if local:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # gloo otherwise looks up the host's name, which fails on machines that cannot resolve their own
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    else:  # each of Ray's own tries, 20 by default, takes 40 s where something else than Ray answers
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")


def set_ray_defaults() -> None:
    """Set what every Ray of ours starts with, on this machine or on the nodes of a job; what is set already stays."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's own 15 leaves actors a thirtieth of a core beside any busy process of usual priority.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Ray starts a Python for each core before anybody asks; an actor of ours, with its own environment, never is one.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    os.environ.setdefault("RAY_enable_worker_prestart", "0")


def _local_options(cfg: ClusterConfig, actors: int) -> dict[str, Any]:
    """Arguments of `ray.init` for a cluster of this machine alone."""
    options: dict[str, Any] = {
        "address": "local",
        # An actor occupies one CPU slot for good; phases take turns, so slots may outnumber cores.
        "num_cpus": max(cfg.cpus or usable_cores(), actors),
        "include_dashboard": False,
        "_node_ip_address": LOOPBACK,
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


def shutdown() -> None:
    """Leave the cluster; a local one ends with all its processes."""
    import ray

    ray_processes.forget()
    close_board()
    standstills.rest()
    if ray.is_initialized():
        ray.shutdown()
