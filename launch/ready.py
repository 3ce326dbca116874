"""Wait until named nodes have joined a Ray cluster: `python -m launch.ready HOST:PORT SECONDS NODE...`."""

from __future__ import annotations

import sys

from rlvr import cluster
from rlvr.cli.exits import readable_errors


def main() -> None:
    """Entry point."""
    address, seconds, *names = sys.argv[1:]
    with readable_errors():
        cluster.wait_for_nodes(address, names, deadline_seconds=float(seconds))


if __name__ == "__main__":
    main()
