"""Does the number of non-zero updates until the hinge loss is 0 stay bounded as samples and neurons grow?

Brutzkus, Globerson, Malach, Shalev-Shwartz 2018 (arXiv 1710.10174): SGD on the hinge loss of a leaky ReLU network makes
a number of non-zero updates on linearly separable data that is bounded without n and k. The bound drawn beside it is
the perceptron argument written out with its constants, equation (6) of the family [derived].

    python sweeps/hinge_updates.py
    python sweeps/hinge_updates.py --margin 0.1,0.2,0.4 --k 8      # the bound falls as 1 / margin^2
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="hinge_updates",
    claim="Does the number of non-zero updates stay bounded as n and k grow?",
    over="n",
    by="k",
    metrics=("updates", "updates_bound", "radius", "disagreement"),
    axes={
        "linear_teacher": {
            "n": "32:1024:octave",
            "k": "1,3,9",
            "loss_function": "hinge",
            "budget": "20000",
            "n_test": "16",
        }
    },
    seeds=10,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
