"""How far does the tangent kernel move in training, and does it fall as 1/m?

Li, Luo, Yip 2020 (arXiv 2007.03714): along the training max_t |K_t - K_0|_max is O(1/m), where a bound by the weights'
movement would give m^(-1/2); the ResNet's kernel moves less than the fully connected net's. At the start K_0 is off its
infinite-width limit by m^(-1/2).

    python sweeps/kernel_drift.py
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="kernel_drift",
    claim="How far does the tangent kernel move as the width grows, with skip connections and without?",
    over="m",
    by="net",
    metrics=("drift_max", "drift_relative", "init_gap", "lambda_ratio"),
    curves=("loss", "drift_max"),
    axes={
        "ntk_resnet": {
            "m": "32:1024:half-octave",
            "n": "8",
            "net": "resnet,fully_connected",
            "depth": "2,4",
            "labels": "sign",
        }
    },
    seeds=16,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
