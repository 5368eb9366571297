"""How wide must a network be for n samples?

Du et al. 2018 (arXiv 1810.02054, Theorem 4.1): m = Omega(n^6 / (lambda0^4 delta^3)) hidden units suffice for gradient
descent to fit n samples. This sweep measures m*(n), the width at which half of the trainings fit, and its exponent.
``random_features`` is the known answer: m* = n. ``ntk_resnet`` is a tanh ResNet: by Li et al. 2020 (arXiv 2007.03714) m
of order n^3 suffices, where Du et al. 2019 asked for n^4.

    python sweeps/width_vs_n.py --n 16,32,64,128 --m 4:256:half-octave --seeds 40 --out results/du
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="width_vs_n",
    claim="How wide must the network be to fit n samples?",
    critical="m",
    over="n",
    axes={
        "two_layer_relu": {"n": "16:128:half-octave", "m": "4:256:half-octave", "d": "8"},
        "random_features": {"n": "16,32,64,128", "m": "12:160:eighth-octave"},
        "ntk_resnet": {
            "n": "4,6,8,12,16,24",
            "m": "1,2,3,4,6,8,11,16,23",
            "d": "8",
            "max_steps": "1000",
            "net": "resnet,fully_connected",
        },
    },
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
