"""The peak of a matrix product, of which the other tables tell shares.

    python benchmarks/peak.py

Prints operations a second in float64, on as many cores as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import torch

SIZES = (384, 1024, 2048)  # rows: the smallest stay in a core's cache


def peak(seconds: float = 1.0) -> float:
    """Operations a second of the fastest product of two square matrices, of all that so long a time allows."""
    rng = torch.Generator().manual_seed(0)
    pairs = [torch.randn(2, size, size, dtype=torch.float64, generator=rng) for size in SIZES]
    outs, best, began = [torch.empty_like(pair[0]) for pair in pairs], 0.0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for (left, right), out in zip(pairs, outs, strict=True):
            start = time.perf_counter()
            torch.mm(left, right, out=out)
            best = max(best, 2 * len(out) ** 3 / (time.perf_counter() - start))
    return best


def of_cores(count: int) -> float:
    """The peak of so many cores, in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(count)}
    told = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, check=True, text=True)
    return float(told.stdout)


if __name__ == "__main__":
    print(peak(4.0))
