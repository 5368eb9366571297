"""When do the neurons of a network that learns a linear teacher fall into two clusters, and is its boundary linear?

Sarussi, Brutzkus, Globerson 2021 (arXiv 2101.02533): SGD on the logistic loss separates linearly separable data at any
width, and two clusters of weights make the decision boundary approximately linear [abstract]. Swept here: size of the
initial weights, leak alpha and neurons of each sign k. The cluster theorem is checked at every step on every point; the
angle is that to the limit direction of agreeing neurons [derived], and falls only as 1 / log(steps).

    python sweeps/clustering.py
    python sweeps/clustering.py --n 128 --margin 0.1     # agreement often cannot last: limit_agrees
    python sweeps/clustering.py --preset full_batch      # gradient descent, ten times as long
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="clustering",
    claim="Do small initial weights end in two tight clusters, and so in a linear boundary, at any width?",
    over="init_scale",
    by="alpha",
    metrics=(
        "radius",
        "agreement_steps",
        "agreement",
        "decided",
        "angle",
        "boundary_angle",
        "disagreement",
        "limit_agrees",
    ),
    curves=("loss", "radius", "agreeing", "angle"),
    axes={"linear_teacher": {"init_scale": "0.01,0.1,1,10", "alpha": "0.1,0.5", "k": "2,8,32"}},
    presets={
        "full_batch": {
            "linear_teacher": {
                "init_scale": "0.01,0.1,1,10",
                "alpha": "0.1,0.5",
                "k": "8",
                "batch": "32",
                "step_size": "4",
                "budget": "20000",
            }
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
