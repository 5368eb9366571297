"""At which strength of feature noise does each optimizer stop generalising?

Zou, Cao, Li, Gu 2021 (arXiv 2108.11371): from the same start on the same data, gradient descent and full-batch Adam
both fit, but Adam fits the noise: its test error is large. Here success is no training error and a test error below
1/4; it falls with alpha, the strength of the feature noise, and alpha* is where half of the trainings still generalise.
Noise patches are sparse, so that samples share coordinates only from n ~ d/s on; with more samples the noise is harder
to fit by signs, and alpha* of Adam grows.

The default is smaller than the paper's working point (d = 1000, n = 200, m = 20, s = 100, sigma_p = 0.1,
sigma_0 = 0.01), with larger initial weights and steps: 300 steps in place of 2500 and more. The preset ``paper`` is the
working point, with the paper's step size for gradient descent and four times the paper's for Adam.

    python sweeps/adam_vs_gd.py
    python sweeps/adam_vs_gd.py --preset decay
"""

import sys

from infra.launch import Sweep, main

GRID = {
    "optimizer": "gd,adam,sign",
    "n": "16,32,64,128",
    "alpha": "0.05,0.1,0.2,0.3,0.45,0.6,0.75,0.9",
    "n_test": "100",
    "dtype": "float32",
}
POINT = {"n": "32,64", "alpha": "0.1,0.2,0.3,0.4,0.55,0.7,0.85"}

SWEEP = Sweep(
    name="adam_vs_gd",
    claim="At which strength of feature noise does each optimizer stop generalising?",
    critical="alpha",
    falling=True,
    over="n",
    by="optimizer",
    metrics=("test_error", "feature", "memorisation"),
    axes={"adam_vs_gd": GRID},
    also=("decay",),
    presets={
        "paper": {
            "adam_vs_gd": {
                "n": "200",
                "d": "1000",
                "m": "20",
                "s": "100",
                "noise": "0.1",
                "alpha": "0.2",
                "init_scale": "0.01",
                "weight_decay": "1e-5",
                "step_size": "0.1",
                "budget": "250",
                "n_test": "500",
            }
        },
        "decay": {
            "adam_vs_gd": {
                "optimizer": "adam",
                "n": "64",
                "alpha": "0.2,0.4",
                "weight_decay": "0,1e-5,1e-4,1e-3,1e-2,1e-1",
            }
        },
        "noise": {"adam_vs_gd": POINT | {"noise": "0.1,0.14,0.2,0.28,0.4"}},
        "init_scale": {"adam_vs_gd": POINT | {"init_scale": "0.02,0.05,0.1", "budget": "250"}},
    },
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
