"""What one network costs a process of its own: ``python -m prune.benchmark.memory NETWORK HEIGHT WIDTH BATCH THREADS``."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from prune.benchmark.entries import open_network


def peak_mib() -> float:
    """Peak resident memory of this process in MiB.

    Linux's own counter of the memory in use is asked first: ``getrusage`` remembers the process this one was forked from.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Load a network, run it once, and print seconds to load and the peak resident memory in MiB as JSON."""
    name, height, width, batch, threads = sys.argv[1], *map(int, sys.argv[2:6])
    start = time.perf_counter()
    predictor = open_network(name, threads)
    loaded = time.perf_counter() - start
    predictor.run(np.zeros((batch, 3, *(predictor.card.size or (height, width))), np.float32))
    print(json.dumps({"load_s": loaded, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
