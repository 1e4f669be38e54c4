"""What the programs beside it share: messages of gRPC-Web, and a cluster on this machine."""

import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
from ports import free_base  # noqa: E402

# Longer than anything takes here, also on a busy machine.
LIMIT = 60


def fail(sentence, hint):
    print(f"error: {sentence}\nhint: {hint}", file=sys.stderr)
    sys.exit(1)


def check(holds, sentence):
    if not holds:
        raise AssertionError(sentence)


def until(what, look):
    """Returns what `look` returns once that is true."""
    end = time.monotonic() + LIMIT
    while True:
        found = look()
        if found:
            return found
        check(time.monotonic() < end, f"not in time: {what}")
        time.sleep(0.05)


# Messages of the protocol, as far as these calls need them.


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def message(fields):
    """Encodes numbers, texts and messages by the numbers of their fields."""
    out = b""
    for field, value in fields.items():
        if isinstance(value, int):
            out += varint(field << 3) + varint(value)
            continue
        data = value.encode() if isinstance(value, str) else value
        out += varint(field << 3 | 2) + varint(len(data)) + data
    return out


def framed(fields):
    data = message(fields)
    return b"\0" + struct.pack(">I", len(data)) + data


def free_ports(count):
    base = free_base(range(count))
    return [base + at for at in range(count)]


class Cluster:
    """Nodes on this machine, as real processes."""

    def __init__(self, program, work, base, nodes, more=(), **settings):
        self.killed, self.log = 0, work / "up.err"
        self.ports = [base + 10 * at for at in range(nodes)]
        home = {name: str(work / "home") for name in
                ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")}
        self.environment = {**os.environ, **home}
        named = {f"CONCLAVE_{name.upper()}": value for name, value in settings.items()}
        asked = [program, "up", *more, "--nodes", str(nodes), "--data", work / "data",
                 "--base-port", str(base)]
        self.out = work / "up.out"
        self.process = subprocess.Popen(asked, stdout=self.out.open("w"), env=self.environment | named,
                                        stderr=self.log.open("w"))
        until("the cluster is ready", lambda: "ready in" in self.log.read_text())

    def pid(self, node):
        again = re.findall(rf"node {node} runs again with pid (\d+)", self.log.read_text())
        lines = [line.split() for line in self.out.read_text().splitlines()]
        at = f"127.0.0.1:{self.ports[node - 1]}"
        return int(again[-1] if again else next(line[3] for line in lines if at in line))

    def end(self):
        self.process.terminate()
        self.process.wait()

    def kill(self, node):
        """Kills a node, which comes back after a while."""
        os.kill(self.pid(node), signal.SIGKILL)
        self.killed += 1

    def is_whole(self):
        """Returns whether all nodes run that were killed."""
        return self.log.read_text().count("runs again") == self.killed


def program_of(root, given):
    """Returns the program that is given, or one that was built."""
    built = [root / "target" / profile / "conclave" for profile in ("release", "debug")]
    found = next((path.resolve() for path in given or built if path.exists()), None)
    return found or fail("there is no program", "build one with: cargo build --release")
