"""Which measure of capacity falls with the width, as the test error does?

Neyshabur et al. 2018 (arXiv 1805.12076): a wider network is fitted in fewer epochs, has a lower test error and less
unit capacity and unit impact, yet the measures in earlier bounds rise with the width; theirs is the only one that falls
[paper]. Here: scikit-learn's digits, the six measures of Table 1 over the margin, and the bounds with all constants.
The held-out images, 1285 of 1797, are many so that they resolve the test error. On these data measures (4) and (5) rise
to about m = 512 and fall beyond, where the first layer hardly moves.

    python sweeps/capacity_vs_width.py
    python sweeps/capacity_vs_width.py --n 1024 --test 773
    python sweeps/capacity_vs_width.py --m 64:4096:half-octave --step_size 0.01
    python sweeps/capacity_vs_width.py --preset cifar10 --data-dir DIR       # a GPU's work
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="capacity_vs_width",
    claim="Which measure of capacity falls with the width, as the test error does?",
    over="m",
    metrics=(
        "capacity",
        "leading_margin",
        "l1_margin",
        "frobenius_margin",
        "spectral_l1_margin",
        "spectral_frobenius_margin",
        "theirs_margin",
        "vc",
        "theorem_units",
        "unit_capacity",
        "unit_impact",
        "distance_U",
        "distance_V",
        "norm_V",
        "margin",
        "epochs",
        "test_error",
    ),
    curves=("loss", "train_error"),
    axes={"unit_capacity": {"m": "16:2048:octave"}},
    presets={
        "cifar10": {
            "unit_capacity": {
                "data": "cifar10",
                "n": "40000",
                "test": "10000",
                "m": "64:8192:octave",
                "step_size": "0.001",
                "budget": "1000",
            }
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
