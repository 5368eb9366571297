"""From which starts does gradient descent recover a teacher with a skip connection, and up to which norm?

Li, Yuan 2017 (arXiv 1705.09886): SGD on f(x, W) = |relu((I + W)^T x)|_1 recovers W* when |W*|_2 is below a constant,
from W = 0 as from small random W; without the identity (vanilla) it does not. The sweep measures the share of
recoveries over |W*|_2 from the three starts. In ``--preset phases`` (d = 100, a teacher of slightly negative trace) the
gradient first points away from W* while the potential g falls; ``--preset sgd`` has SGD on fresh samples beside the
exact gradient.

    python sweeps/teacher_norm.py
    python sweeps/teacher_norm.py --preset phases --seeds 3
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="teacher_norm",
    claim="Up to which norm of the teacher is it recovered from zero, random and vanilla starts?",
    over="teacher_norm",
    by="start",
    metrics=("recovered_permuted", "distance", "one_point_min", "wrong_steps"),
    curves=("loss", "distance", "potential", "one_point"),
    axes={
        "identity_mapping": {
            "teacher_norm": "0.4,0.8,1.2,1.6,2,2.4,3",
            "d": "8,16",
            "start": "zero,random,vanilla",
            "init_scale": "0.3",
            "step_size": "2",
            "budget": "3000",
        }
    },
    presets={
        "wrong_direction": {
            "identity_mapping": {
                "teacher": "orthogonal",
                "teacher_norm": "0.5",
                "d": "50,500",
                "start": "zero",
                "step_size": "0.5",
                "budget": "60",
            }
        },
        "phases": {
            "identity_mapping": {
                "teacher_norm": "0.5,1,1.5",
                "d": "100",
                "contraction": "0.1",
                "start": "zero",
                "init_scale": "0.3",
                "step_size": "0.5",
                "budget": "15000",
            }
        },
        "sgd": {
            "identity_mapping": {
                "teacher_norm": "0.4,0.8,1.2,1.6,2",
                "d": "10",
                "start": "zero,random,vanilla",
                "init_scale": "0.3",
                "gradient": "population,sampled",
                "step_size": "1",
                "budget": "4000",
            }
        },
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
