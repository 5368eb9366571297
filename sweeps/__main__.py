"""Every sweep on its default grid, one after the other, and one page of verdicts over all of them.

    python -m sweeps                           # results/claims/verdicts.html
    python -m sweeps --out DIR --seeds 5       # any option that all sweeps know

What is recorded is not trained again: after an interruption the same command goes on.
"""

import pkgutil
import sys
from importlib import import_module

import sweeps
from infra.launch import every

NAMES = sorted(module.name for module in pkgutil.iter_modules(sweeps.__path__) if module.name != "__main__")

if __name__ == "__main__":
    sys.exit(every([import_module(f"sweeps.{name}").SWEEP for name in NAMES]))
