"""How wide must a network be for n samples?

Du et al. 2018 (arXiv 1810.02054, Theorem 4.1): m = Omega(n^6 / (lambda0^4 delta^3)) hidden units suffice for gradient
descent to fit n samples. This sweep measures m*(n), the width at which half of the trainings fit, and its exponent.
``random_features`` is the known answer: m* = n.

    python sweeps/width_vs_n.py --n 16,32,64,128 --m 4:256:half-octave --seeds 40 --out results/du
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="width_vs_n",
    claim="How wide must the network be for gradient descent to fit n samples?",
    critical="m",
    over="n",
    axes={
        "two_layer_relu": {"n": "16:128:half-octave", "m": "4:256:half-octave", "d": "8"},
        "random_features": {"n": "16,32,64,128", "m": "12:160:eighth-octave"},
    },
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
