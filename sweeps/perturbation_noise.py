"""How hard can a zero-error network be perturbed and still find back, and where does its basin end?

Liao and Poggio 2017 (arXiv 1703.09833): perturb every layer by c mean|W| N(0, 1) at c = 0.01, go on with full-batch
gradient descent, and the training error stays 0; a polynomial in place of the ReLU does as well [abstract]. Here c goes
up to 4: small c is flat, larger c recovers, and from about c = 2 a barrier parts the solution from the copy that was
retrained from it [derived].

    python sweeps/perturbation_noise.py
    python sweeps/perturbation_noise.py --branch_from fresh --noise 0.1        # the control: trained from new weights
    python sweeps/perturbation_noise.py --preset cifar10 --data-dir DIR        # the paper's layers; for a GPU
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="perturbation_noise",
    claim="Up to which perturbation does the training error come back to zero, and up to which without a barrier?",
    over="noise",
    by="activation",
    metrics=(
        "error_after",
        "barrier_loss",
        "error_end",
        "error_most",
        "recovery_steps",
        "distance",
        "cosine",
        "barrier_error",
    ),
    curves=("loss", "error"),
    axes={
        "perturbed_dcnn": {
            "noise": "0.01,0.1,0.25,0.5,1,2,4",
            "activation": "relu,polynomial",
        }
    },
    presets={
        "cifar10": {
            "perturbed_dcnn": {
                "data": "cifar10",
                "m": "32",
                "n": "256",
                "noise": "0.01,0.5,2",
                "activation": "relu",
                "retrain_steps": "400",
            }
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
