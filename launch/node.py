"""What srun starts on every node: Ray's head on the first, a worker on each other.

The process becomes `ray start --block`, so that whatever ends the SLURM step ends Ray: its daemons die with it.
"""

from __future__ import annotations

import argparse
import os
import sys

from launch.network import address_towards, choose_port, interface_address, interface_of, wait_for_port
from rlvr.cli.exits import readable_errors
from rlvr.cluster.prerequisites import check_node
from rlvr.cluster.temporary import own_ray_folder, replace_unsuitable


def ray_command(*, node: str, head: bool, address: str, own_ip: str, cpus: str, gpus: str) -> list[str]:
    """The command line of `ray start` on one node; `address` is the head's host:port."""
    host, _, port = address.rpartition(":")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    command += [f"--node-name={node}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
    if head:
        command += ["--head", f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false"]
        command.append(f"--temp-dir={own_ray_folder(os.environ)}")
        # its default, 10001, is taken where another job's head shares the node
        return [*command, f"--ray-client-server-port={choose_port(host, None)}"]
    return [*command, f"--address={address}", f"--node-ip-address={own_ip}"]


def main() -> None:
    """Entry point; does not return unless Ray could not be started."""
    parser = argparse.ArgumentParser(prog="python -m launch.node", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--address", required=True, help="host:port of the Ray head")
    parser.add_argument("--head-node", required=True, help="name of the node that runs the head")
    parser.add_argument("--ready-seconds", type=float, required=True)
    parser.add_argument("--interface")
    parser.add_argument("--ray-arg", action="append", default=[])
    arguments = parser.parse_args()
    node = os.environ["SLURMD_NODENAME"]
    host, _, port = arguments.address.rpartition(":")
    head = node == arguments.head_node
    with readable_errors():
        check_node(node)
        own_ip = host
        if not head:
            wait_for_port(host, int(port), arguments.ready_seconds)
            chosen = arguments.interface
            own_ip = address_towards(host) if chosen is None else interface_address(chosen)
    # gloo would otherwise take the interface that the host's own name resolves to
    os.environ.setdefault("GLOO_SOCKET_IFNAME", interface_of(own_ip))
    command = ray_command(
        node=node,
        head=head,
        address=arguments.address,
        own_ip=own_ip,
        cpus=os.environ["SLURM_CPUS_ON_NODE"],
        gpus=os.environ.get("SLURM_GPUS_ON_NODE", "0"),
    )
    if moved := replace_unsuitable(os.environ):
        print(f"{node}: {moved}")
    print(f"{node} ({own_ip}): {' '.join(command[1:])}", flush=True)
    os.execv(command[0], [*command, *arguments.ray_arg])


if __name__ == "__main__":
    main()
