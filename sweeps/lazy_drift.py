"""How far do the weights and the Gram matrix move, and does it fall as m^(-1/2)?

Du et al. 2018 (arXiv 1810.02054): ||H(t) - H(0)||, the share of flipped activations and max_r |w_r(t) - w_r(0)| are
O(m^(-1/2)); at large width (1/m) sum_r |w_r(t) - w_r(0)|^2 -> e0 . Hinf^(-1) e0 / m. ``--preset figure_1`` is the
setting of the paper's Figure 1, n = d = 1000, labels N(0, 1), 100 steps.

    python sweeps/lazy_drift.py
    python sweeps/lazy_drift.py --preset figure_1 --seeds 1
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="lazy_drift",
    claim="How far do weights and Gram matrix move as the width grows?",
    over="m",
    metrics=("flips", "dist_max", "gram_drift", "gram_init_gap", "rms_over_limit"),
    curves=("loss", "flips", "dist_max"),
    axes={
        "two_layer_relu": {"n": "16,32", "m": "64:4096:half-octave", "d": "16", "labels": "gauss", "tolerance": "1e-4"}
    },
    presets={
        "figure_1": {
            "two_layer_relu": {
                "n": "1000",
                "d": "1000",
                "m": "500:4000:octave",
                "max_steps": "100",
                "tolerance": "1e-12",
                "dtype": "float32",
            }
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
