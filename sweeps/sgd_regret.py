"""Does the average regret of SGD on the tweaked network fall as 1/sqrt(T), below its bound?

Shamir 2018 (arXiv 1804.06739, abstract): h(x) = w.x + v.f(x), one step of projected SGD on (w, v) for each of T = n
samples, theta moved in any way: the average loss is at most that of the best linear predictor in the ball of radius b
plus O(1/sqrt(T)). Here theta is frozen (theta_step 0), or moved by SGD with the step of (w, v), or with one ten times
as long; the bound b L / sqrt(T) holds on every path.

    python sweeps/sgd_regret.py
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="sgd_regret",
    claim="Does the average regret of SGD on the tweaked network fall as 1/sqrt(T), below its bound?",
    over="n",
    by="theta_step",
    metrics=("regret", "regret_bound", "step_gradient"),
    axes={
        "resnet_vs_linear": {
            "model": "tweaked",
            "n": "64:2048:octave",
            "theta_step": "0,1,10",
            "loss_function": "square,logistic",
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
