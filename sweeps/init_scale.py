"""How large may the random start be, with a skip connection and without?

Li, Yuan 2017 (arXiv 1705.09886): with entries of W(0) of order 1/sqrt(d), SGD on f(x, W) = |relu((I + W)^T x)|_1
recovers W* as from W = 0, and beats the vanilla network, which starts without the identity. The sweep measures the
share of recoveries over init_scale, W(0)_ij ~ N(0, init_scale^2 / d), so that |W(0)|_2 is about 2 init_scale;
W = 0 does not depend on it and stands beside as a reference.

    python sweeps/init_scale.py
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="init_scale",
    claim="How large may a random start be for the teacher to be recovered, with a skip connection and without?",
    over="init_scale",
    by="start",
    metrics=("recovered_permuted", "distance", "one_point_min", "wrong_steps"),
    curves=("loss", "distance", "potential", "one_point"),
    axes={
        "identity_mapping": {
            "init_scale": "0.1,0.2,0.4,0.6,0.8,1,1.5,2",
            "teacher_norm": "0.5,1.2",
            "d": "10",
            "start": "zero,random,vanilla",
            "step_size": "2",
            "budget": "3000",
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
