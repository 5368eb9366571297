"""Which straight-through estimator descends, and what does each do beside the spurious minimum?

Yin et al. 2019 (arXiv 1903.05662): units 1{x > 0} are trained by a coarse gradient, with the derivative of the
identity, of ReLU or of the clipped ReLU in place of 0. All three correlate with the gradient of the population loss.
With ReLU and clipped ReLU small steps lower the loss every time, and at the spurious minimum, which nearly always
exists from m = 8 on, they stand still. The identity's coarse gradient does not vanish there: |w| shrinks until a step
jumps over w = 0, the filter turns round and the loss jumps by up to half of |v*|^2, again and again. The sweep counts
what each estimator reaches from a random start and from beside the spurious minimum, over m and the scale of v(0).

The theorem wants |w| bounded below: at equal step sizes a large v(0) can press w through 0 with ReLU as well (preset
``ratio``), so the filter's steps are 20 times smaller here. ``saddle`` starts beside the spurious point where it may be
no minimum; ``sampled`` trains by fresh samples and adds up their gap to the closed form.

    python sweeps/ste_choice.py
    python sweeps/ste_choice.py --preset ratio
"""

import sys

from infra.launch import Sweep, main

ESTIMATORS = "identity,relu,clipped_relu"

SWEEP = Sweep(
    name="ste_choice",
    claim="Which straight-through estimator reaches the global minimum, and which one lowers the loss at every step?",
    over="m",
    by="ste",
    metrics=("largest_rise", "violations", "spurious_distance", "v_overlap"),
    curves=("loss", "theta", "spurious_distance"),
    axes={
        "straight_through": {
            "m": "4,8,16,32",
            "ste": ESTIMATORS,
            "start": "random,spurious",
            "init_scale": "0.3,1",
            "noise": "0.01",
            "ratio": "0.05",
            "step_size": "0.3",
            "budget": "30",
        }
    },
    seeds=40,
    also=("saddle", "sampled"),
    presets={
        "ratio": {"straight_through": {"m": "8", "ste": ESTIMATORS, "ratio": "0.03,0.1,0.3,1", "step_size": "0.1"}},
        "saddle": {
            "straight_through": {
                "m": "2,3,4,6",
                "ste": "identity,relu",
                "start": "spurious",
                "init_scale": "1",
                "noise": "0.01",
                "ratio": "1",
                "step_size": "0.1",
                "budget": "100",
            }
        },
        "sampled": {
            "straight_through": {
                "m": "4",
                "ste": ESTIMATORS,
                "start": "random",
                "init_scale": "1",
                "gradient": "sampled",
                "batch": "16",
                "ratio": "0.1",
                "step_size": "0.1",
                "max_steps": "300",
                "tolerance": "0.01",
            }
        },
    },
)

if __name__ == "__main__":
    sys.exit(main(SWEEP))
