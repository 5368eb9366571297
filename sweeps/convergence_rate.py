"""How fast does gradient descent converge, and what does the theorem say of it?

Du et al. 2018 (arXiv 1810.02054, Theorem 4.1): |r(k)|^2 <= (1 - eta lambda0 / 2)^k |r(0)|^2 once m = Omega(n^6 /
lambda0^4). At large width the late rate is 2 eta lambda0 per step. The sweep measures the rate of the last step against
both, over width, and says by what factor the theorem's width and its step size lambda0 / n^2 are missed.

    python sweeps/convergence_rate.py
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="convergence_rate",
    claim="How fast does gradient descent converge, beside the theorem's rate and the large-width limit?",
    over="m",
    by="n",
    metrics=("rate_over_limit", "eta_excess", "width_shortfall", "rate", "lambda0", "lambda_min_end"),
    curves=("loss",),
    axes={"two_layer_relu": {"n": "8,16,32", "m": "32:2048:octave", "d": "16", "tolerance": "1e-6", "budget": "60"}},
    seeds=10,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
