"""Health check of a container: every Ray node that runs in it must be alive in the eyes of its cluster.

python docker/health.py          no Ray is fine: most tools, and a run that is still starting, have none
python docker/health.py --ray    Ray must be here: the container is a node of a cluster

Prints one line; the exit code is 0 if healthy and 1 if not. It uses Ray's internal client as `ray health-check`
does, which asks only whether the head answers, not whether this node belongs to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

SECONDS_TO_ANSWER = 10


@dataclass(frozen=True, slots=True)
class Node:
    """A raylet, the process that stands for a node of a Ray cluster, as its command line describes it."""

    id: str
    gcs_address: str  # host:port of the cluster's head


def parse_raylet(command: list[str]) -> Node | None:
    """The node that this command line starts, or None if it is another program's."""
    if not command or not command[0].endswith("/raylet"):
        return None
    flags = dict(part.removeprefix("--").partition("=")[::2] for part in command[1:] if part.startswith("--"))
    return Node(id=flags["node_id"], gcs_address=flags["gcs-address"])


def nodes_here() -> list[Node]:
    """The Ray nodes that run in this container."""
    commands: Iterable[list[str] | None] = (p.info["cmdline"] for p in psutil.process_iter(["cmdline"]))
    return [node for command in commands if (node := parse_raylet(command or []))]


def alive_in_cluster(gcs_address: str) -> set[str]:
    """Ids of the nodes that the head at this address counts as alive; raises what Ray raises if it does not answer."""
    from ray._raylet import GcsClient
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    infos = GcsClient(address=gcs_address).get_all_node_info(timeout=SECONDS_TO_ANSWER)
    return {node_id.hex() for node_id, info in infos.items() if info.state == GcsNodeInfo.ALIVE}


def verdict(nodes: list[Node], ray_expected: bool) -> tuple[bool, str]:
    """Whether the container is healthy, and why."""
    if not nodes:
        return not ray_expected, "no Ray node runs here"
    for node in nodes:
        try:
            alive = alive_in_cluster(node.gcs_address)
        except Exception as error:  # whatever kept the head from answering, the check must come to a verdict
            return False, f"the head at {node.gcs_address} did not answer: {error}".splitlines()[0]
        if node.id not in alive:
            return False, f"the head at {node.gcs_address} does not count node {node.id} as alive"
    return True, f"{len(nodes)} Ray node(s) alive"


if __name__ == "__main__":
    healthy, why = verdict(nodes_here(), "--ray" in sys.argv[1:])
    print(why)
    sys.exit(not healthy)
