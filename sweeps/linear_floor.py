"""Does a residual network always end at or below the best linear predictor?

Shamir 2018 (arXiv 1804.06739, abstract): h(x) = w.(x + V f(x)) has no local minimum above the least loss of a linear
predictor, whatever the data, the depth and f. The control is the same network without the skip, h = w.V f(x). Two
gradient inequalities behind the theorem are checked at every step of every training: gradient_ratio and origin_ratio
are at most 1. loss_over_floor is the final loss over the best linear predictor's.

    python sweeps/linear_floor.py
    python sweeps/linear_floor.py --preset shape    # depth and width in place of the loss function
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="linear_floor",
    claim="Does a residual network always end at or below the best linear predictor?",
    over="init_scale",
    by="model",
    metrics=("loss_over_floor", "gradient_ratio", "origin_ratio"),
    curves=("loss_over_floor", "gradient"),
    axes={
        "resnet_vs_linear": {
            "model": "resnet,mlp",
            "init_scale": "0.01,0.03,0.1,0.3,1",
            "data": "linear,xor",
            "loss_function": "square,logistic",
            "depth": "1,3",
            "n": "64",
        }
    },
    presets={
        "shape": {
            "resnet_vs_linear": {
                "model": "resnet,mlp",
                "init_scale": "0.01,0.1,1",
                "data": "linear,teacher,xor",
                "depth": "1,2,4",
                "m": "4,16,64",
                "n": "64",
            }
        }
    },
    seeds=10,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
