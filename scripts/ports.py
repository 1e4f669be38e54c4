#!/usr/bin/env python3
"""Finds ports on loopback that nothing listens on, for the programs in this directory.

    scripts/ports.py NODES EACH

Prints a port for `conclave up --base-port`: nodes are ten ports apart, and the first EACH ports of
each of them are free.
"""

import random
import socket
import sys

# Below the ports that machines give to connections by themselves, so that none of those takes one
# before a program listens on it.
FIRST, LAST = 11000, 31000
TRIES = 200


def free_base(offsets):
    """Returns a port that is free together with those at these distances from it."""
    offsets = list(offsets)
    for _ in range(TRIES):
        base = random.randrange(FIRST, LAST)
        try:
            for offset in offsets:
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base
    print(f"error: there are no {len(offsets)} free ports\n"
          f"hint: stop programs that listen on ports {FIRST} to {LAST}", file=sys.stderr)
    sys.exit(1)


def main():
    nodes, each = (int(word) for word in sys.argv[1:])
    print(free_base(10 * node + port for node in range(nodes) for port in range(each)))


if __name__ == "__main__":
    main()
