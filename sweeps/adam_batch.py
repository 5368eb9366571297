"""Test error over time: gradient descent, Adam and sign descent, on all samples and on mini-batches.

Zou, Cao, Li, Gu 2021 (arXiv 2108.11371): full-batch Adam fits the noise. Tang, Zhang, Cao, Zou 2025 (arXiv 2510.11354):
mini-batch Adam does not. Data and initial weights are the same for every optimizer and batch; batch 1024 is all 64.
The training error is 0 long before the end, while the test error of full-batch Adam and of sign descent goes up again.

    python sweeps/adam_batch.py
    python sweeps/adam_batch.py --batch 1,2,4,8,16,32,1024 --alpha 0.1,0.2,0.4 --out results/batch
"""

import sys

from infra.launch import Sweep, main

SWEEP = Sweep(
    name="adam_batch",
    claim="Do mini-batches keep Adam from fitting the noise?",
    over="batch",
    by="optimizer",
    metrics=("test_error", "feature", "memorisation", "noise_error"),
    curves=("test_error", "train_error", "feature", "memorisation"),
    axes={
        "adam_vs_gd": {
            "optimizer": "gd,adam,sign",
            "batch": "2,8,32,1024",
            "alpha": "0.2,0.4",
            "n": "64",
            "dtype": "float32",
        }
    },
    seeds=20,
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
