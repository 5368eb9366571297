"""A pack that runs out of memory, really: allocations fail at a limit on the process's address space."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


CASES = {
    "measurement": ("identity_mapping", {"d": 64, "budget": 12}, {"size": 12, "grant": 0.5}),
    "draw": ("ntk_resnet", {"n": 48, "m": 96, "max_steps": 5}, {"size": 21, "grant": 0.4}),
    "in place": ("ntk_resnet", {"n": 48, "m": 96, "max_steps": 9}, {"size": 12, "grant": 0.3, "free_blocks": 4}),
    "not in place": (
        "resnet_vs_linear", {"n": 256, "m": 64, "budget": 9, "step_size": 1e-6},
        {"size": 12, "grant": 0.3, "free_blocks": 4},
    ),
    "alone": ("identity_mapping", {"d": 64, "budget": 12}, {"size": 5, "grant": 0.1, "lift": True}),
}  # fmt: skip


@pytest.fixture(scope="module")
def limited():
    """What short_of_memory.py prints of all cases, in one process, for torch takes seconds to load; it holds every row
    to the bits of the pack trained with all the memory."""
    plain = {"free_blocks": 0, "lift": False}
    asked = [plain | {"family": family, "axes": axes} | more for family, axes, more in CASES.values()]
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    environment |= {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once, and is not had again for free
    command = [sys.executable, "-W", "error", str(HERE / "short_of_memory.py"), json.dumps(asked)]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return dict(zip(CASES, map(json.loads, finished.stdout.splitlines()), strict=True))


def test_a_last_measurement_that_needs_too_much_is_taken_in_halves_and_no_step_is_taken_twice(limited):
    told = limited["measurement"]
    assert told["largest"] in (3, 6) and told["failed"] == 0
    assert told["halved"][0] == [11, 12, True], "halved after the last step, with its state"
    assert "could not be had" in told["said"]


def test_a_pack_that_cannot_be_drawn_whole_is_drawn_in_halves(limited):
    assert limited["draw"]["halved"][0] == [0, 0, False] and limited["draw"]["failed"] == 0


@pytest.mark.parametrize("case", ["in place", "not in place"])  # a step in place that breaks off spoils the state
def test_memory_that_ends_between_two_steps_keeps_the_state_where_steps_are_not_in_place(limited, case):
    (before, after, drawn), *_ = limited[case]["halved"]
    assert before == 3 and limited[case]["failed"] == 0
    assert (after, drawn) == ((0, False) if case == "in place" else (3, True))


def test_a_training_too_large_alone_fails_in_its_row_and_the_others_go_on(limited):
    told = limited["alone"]
    assert told["largest"] == 1 and told["failed"] == 1
    assert told["why"][0].startswith("too little memory for one training: ") and "could not be had" in told["why"][0]
