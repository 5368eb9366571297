"""A pack that runs out of memory, really: allocations fail at a limit on the process's address space."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def limited(family, axes, size, grant, free_blocks=0, lift=False):
    """What short_of_memory.py prints; it holds every row to the bits of the pack trained with all the memory."""
    ask = {"family": family, "axes": axes, "size": size, "grant": grant, "free_blocks": free_blocks, "lift": lift}
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    environment |= {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once, and is not had again for free
    command = [sys.executable, "-W", "error", str(HERE / "short_of_memory.py"), json.dumps(ask)]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_a_last_measurement_that_needs_too_much_is_taken_in_halves_and_no_step_is_taken_twice():
    told = limited("identity_mapping", {"d": 64, "budget": 12}, size=12, grant=0.5)
    assert told["largest"] in (3, 6) and told["failed"] == 0
    assert told["halved"][0] == [11, 12, True], "halved after the last step, with its state"
    assert "could not be had" in told["said"]


def test_a_pack_that_cannot_be_drawn_whole_is_drawn_in_halves():
    told = limited("ntk_resnet", {"n": 48, "m": 96, "max_steps": 5}, size=21, grant=0.4)
    assert told["halved"][0] == [0, 0, False] and told["failed"] == 0


@pytest.mark.parametrize(("family", "axes", "kept"), [
    ("ntk_resnet", {"n": 48, "m": 96, "max_steps": 9}, False),  # steps in place: a broken one spoils the state
    ("resnet_vs_linear", {"n": 256, "m": 64, "budget": 9, "step_size": 1e-6}, True),
])  # fmt: skip
def test_memory_that_ends_between_two_steps_keeps_the_state_where_steps_are_not_in_place(family, axes, kept):
    told = limited(family, axes, size=12, grant=0.3, free_blocks=4)
    (before, after, drawn), *_ = told["halved"]
    assert before == 3 and told["failed"] == 0
    assert (after, drawn) == ((3, True) if kept else (0, False))


def test_a_training_too_large_alone_fails_in_its_row_and_the_others_go_on():
    told = limited("identity_mapping", {"d": 64, "budget": 12}, size=5, grant=0.1, lift=True)
    assert told["largest"] == 1 and told["failed"] == 1
    assert told["why"][0].startswith("too little memory for one training: ") and "could not be had" in told["why"][0]
