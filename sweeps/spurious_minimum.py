"""Does the shortcut keep gradient descent out of the spurious minimum?

Du et al. 2017 (arXiv 1712.00779): a convolutional network without overlap has a spurious local minimum when
s = (1.a*)^2 / |a*|^2 < 1 + (k - 1)/pi, and from a random filter gradient descent ends there with constant probability.
Liu et al. 2019 (arXiv 1909.04653): from the shortcut, w = 0, it never does. This sweep counts successes over s from
both starts. Where the output layer is the faster one (eta_w / eta_a = 0.1 here) their probability is known in closed
form, 1/2 at s = 0 and 1 from s = 1 + (k - 1)/pi on. At 0.1 fewer than one training in 100 ends otherwise than the
closed form says of its start, at 1 one in 40. Just above the threshold the way out takes a time of 1/(s - threshold),
so the grid leaves a gap there and the preset ``table``, the grid of the 2017 paper, has a longer budget.

    python sweeps/spurious_minimum.py --k 25,36,49 --s 0,1,4 --seeds 1000 --out results/spurious
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="spurious_minimum",
    claim="Does the shortcut keep gradient descent out of the spurious minimum?",
    over="s",
    by="start",
    metrics=("spurious_is_minimum", "predicted_success", "spurious_distance", "global_distance"),
    curves=("loss", "angle", "alignment"),
    axes={"shortcut_cnn": {"k": "25,49", "p": "6", "s": "0,1,4,12,25", "start": "resnet,random", "ratio": "0.1"}},
    seeds=200,
    presets={
        "table": {
            "shortcut_cnn": {"k": "25,36,49,64,81,100", "s": "0,1,4,9,16,25", "start": "random", "budget": "1000"}
        },
        "dimension": {"shortcut_cnn": {"k": "25", "p": "2,4,8,16,32,64", "s": "1,4", "start": "resnet,random"}},
        "ratio": {"shortcut_cnn": {"k": "25", "s": "4", "start": "random", "ratio": "0.03,0.1,0.3,1,3"}},
    },
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
