"""What does the landscape around zero error look like: one basin per start, flat in how many directions?

Liao and Poggio 2017 (arXiv 1703.09833): the weights of whole trainings, drawn by multidimensional scaling of 1 -
cosine, fall into one cluster per start, and perturbed copies of a solution stay in its cluster; zero-error solutions
are degenerate, of dimension at least P - 10 n [abstract]. From each of several starts (``seed``) the network is trained
to zero error once, and from that solution several copies (``branch``) are perturbed and retrained; the control retrains
from fresh weights. ``curve_sketch`` carries the weights along each training, ``barrier_loss`` the height between a
solution and its copy, ``null_dimension`` the kernel of the Jacobian of all outputs.

    python sweeps/landscape.py
    python sweeps/landscape.py --noise 0.1,1,4 --branch_from solution
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="landscape",
    claim="Do perturbed copies share a basin with their solution, and how many directions are flat there?",
    over="branch",
    by="branch_from",
    metrics=("barrier_loss", "barrier_error", "cosine", "distance", "null_dimension", "rank"),
    curves=("loss", "error", "sketch"),
    axes={
        "perturbed_dcnn": {
            "noise": "1",
            "branch": "1,2,3,4,5",
            "branch_from": "solution,fresh",
            "jacobian_images": "64",
        }
    },
    seeds=6,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
