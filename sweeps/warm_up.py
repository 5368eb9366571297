"""Does a first stage of small filter steps save an adversarial output layer?

Liu et al. 2019 (arXiv 1909.04653) start the ResNet at w = 0 and at any a in the ball of radius |1.a*|/sqrt(k), and
train with a small eta_w first. For most a(0) that stage changes nothing. From the worst, opposite to a* on the ball's
surface, the filter turns away from v* until the output layer has come round: at a large eta_w / eta_a it is trapped by
then, unless the first stage gives the output layer its time. This sweep counts successes over eta_w / eta_a.

    python sweeps/warm_up.py --warm-up 0,1,2,5,20 --out results/warm_up
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="warm_up",
    claim="Does a warm-up of the filter's step size save an adversarial output layer?",
    over="ratio",
    by="warm_up",
    metrics=("spurious_distance", "global_distance"),
    curves=("loss", "angle", "alignment"),
    axes={
        "shortcut_cnn": {
            "k": "25",
            "s": "1,4",
            "start": "resnet",
            "a_start": "adversarial",
            "ratio": "1,3,10,20,30,50,100",
            "warm_up": "0,20",
            "budget": "30",
        }
    },
    seeds=50,
    presets={
        "random": {"shortcut_cnn": {"a_start": "random", "ratio": "1,10,100,300", "warm_up": "0,20", "s": "1"}},
        "length": {"shortcut_cnn": {"a_start": "adversarial", "ratio": "100", "warm_up": "0,1,2,3,5,10,20", "s": "1"}},
    },
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
