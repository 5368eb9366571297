"""What to train next: by the law so far (adaptive sweeps) or by a knob's best value (tuning)."""
