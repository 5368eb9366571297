"""Find how the width that a perceptron needs grows with n, by Optuna and widthlaw's sampler."""

import numpy as np
import optuna

from analysis.thresholds.fitting import fit_threshold
from infra.choosing.design import ThresholdSampler


def objective(trial: optuna.Trial) -> bool:
    n = trial.suggest_categorical("n", [16, 32, 64, 128])
    m = trial.suggest_int("m", 2, 4096, log=True)
    rng = np.random.default_rng(trial.number)
    x, y = rng.standard_normal((n, m)), rng.choice([-1.0, 1.0], n)
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    return bool(np.all(y * (x @ w) > 0.1))  # success: random labels are fitted


sampler = ThresholdSampler(critical="m", over="n")
study = optuna.create_study(sampler=sampler, direction="maximize")
study.optimize(objective, n_trials=200)
print(fit_threshold(sampler.data(study)).summary())
