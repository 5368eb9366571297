"""What a pack takes at its peak is counted right, and packs are cut to the budget."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import trainables
from infra.planning import costs, counting, memory, plan
from infra.planning.axes import PlanError
from infra.planning.memory import Budget

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "memory.py"
RECORDS = 16 * 2**20  # see the benchmark


@pytest.mark.parametrize(("family", "axes"), [
    ("two_layer_relu", '{"n": 128, "m": 256, "d": 32, "max_steps": 5}'),  # steps in place, eigenvalues at the end
    ("identity_mapping", '{"d": 100, "budget": 5}'),  # a last measurement a hundred times the state
    ("random_features", '{"n": 64, "m": 256}'),  # singular values and vectors
])  # fmt: skip
def test_the_count_is_what_a_pack_takes(family, axes):
    """To a tenth, what solvers take for themselves, and what a pack keeps beside tensors: Python's numbers."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back
    command = [sys.executable, str(BENCHMARK), "only", family, axes, str(200 * 2**20)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    *_, counted, measured = map(int, out.split())
    assert counted > 150 * 2**20, "too small to tell"
    assert counted / 1.1 <= measured <= 1.1 * counted + RECORDS


@pytest.mark.parametrize("family", trainables.names())
def test_following_shapes_counts_what_numbers_count(family, monkeypatch):
    module = trainables.load(family)
    counts = []
    for small in (math.inf, -1):
        monkeypatch.setattr(memory, "SMALL", small)
        counts.append(memory.peak(module, module.SMALL))
    assert counts[0] == pytest.approx(counts[1], rel=0.05)
    assert counts[0] >= 2 * memory.held(module.draw(module.SMALL)), "stacking holds every state twice"


def test_the_count_is_that_of_tensors_that_live_at_the_same_time():
    with counting.Live() as live:
        first = torch.zeros(1000, dtype=torch.float64)
        view, second = first[:10], first + 1
        del first, second
        third = torch.zeros(500, dtype=torch.float64)
    assert live.most == 16_000 and live.now == 8_000 + 4_000
    assert len(view) == 10 and len(third) == 500, "the view keeps all of its memory"
    with counting.Live() as live:
        A = torch.zeros(10, 100, dtype=torch.float64)
        parts = torch.linalg.svd(A, full_matrices=False)
    assert live.now == sum(x.nbytes for x in (A, *parts)) == live.most - A.nbytes, "the solver has a copy"


def cells(count, **axes):
    return [replace(trainables.load("identity_mapping").SMALL, seed=seed, **axes) for seed in range(count)]


def test_packs_are_no_larger_than_the_budget_and_no_smaller_than_they_must():
    one = costs.peak("identity_mapping", cells(1, d=48)[0])
    for share, sizes in ((40, [20, 20]), (20.5, [20, 20]), (13.5, [10, 10, 10, 10])):
        budget = Budget(2 * (share * one + memory.WORKER) / memory.SHARE, side_by_side=2)
        packs = plan.packs("identity_mapping", cells(40, d=48), at_least=1, budget=budget)
        assert all(pack.peak == pack.size * one <= budget.of_pack for pack in packs)
        assert sorted(pack.size for pack in packs) == (sizes if share < 40 else [40])


def test_where_the_largest_shape_has_room_no_other_is_looked_at(monkeypatch):
    asked = []
    counted = memory.peak
    monkeypatch.setattr(memory, "peak", lambda module, cell: asked.append((cell.n, cell.m)) or counted(module, cell))
    few = [replace(one, n=n, m=m) for n in (4, 8) for m in (2, 16) for one in seeds(3)]
    for share, shapes in ((13, {(8, 16)}), (11, {(8, 16), (4, 2), (4, 16), (8, 2)})):
        costs.peak.cache_clear()
        asked.clear()
        top = costs.peak("two_layer_relu", replace(few[0], n=8, m=16))
        budget = Budget((share * top + memory.WORKER) / memory.SHARE, side_by_side=1)  # 4 packs of 3 would take 12
        assert sorted(pack.size for pack in plan.packs("two_layer_relu", few, budget=budget)) == [3, 3, 3, 3]
        assert set(asked) == shapes and len(asked) == len(shapes)
    batches = [replace(one, batch=batch) for batch in (0, 2) for one in seeds(1, "adam_vs_gd")]
    assert costs.largest_cell("adam_vs_gd", batches) is None, "0 is the whole sample"


def seeds(count, family="two_layer_relu"):
    return [replace(trainables.load(family).SMALL, seed=seed) for seed in range(count)]


def test_a_pack_of_two_over_the_budget_is_refused_in_a_line_that_says_what_would_fit():
    one = costs.peak("identity_mapping", cells(1, d=48)[0])
    whole = 3 * (2.1 * one + memory.WORKER) / memory.SHARE  # room for three packs of two
    assert plan.packs("identity_mapping", cells(2, d=48), budget=Budget(whole, 3))
    with pytest.raises(PlanError, match=r"^--d 48 .* and 3 at a time fit in the memory; .*--num-cpus 3\)"):
        plan.packs("identity_mapping", cells(2, d=48), budget=Budget(whole, 4))
    with pytest.raises(PlanError, match=r"^--d 48 .*: a training is too large for this machine's memory$"):
        plan.packs("identity_mapping", cells(2, d=48), budget=Budget(memory.WORKER, 1))


def test_a_control_group_counts_with_what_it_has_left(tmp_path):
    two, one = tmp_path / "two" / "job" / "step", tmp_path / "one" / "memory" / "job"
    for folder in (two, one):
        folder.mkdir(parents=True)
    (two / "memory.max").write_text("max\n")
    (two / "memory.current").write_text("10\n")
    (two.parent / "memory.max").write_text("1000\n")
    (two.parent / "memory.current").write_text("700\n")
    (two.parent / "memory.stat").write_text("anon 1\ninactive_file 50\n")
    (one / "memory.limit_in_bytes").write_text("500\n")
    (one / "memory.usage_in_bytes").write_text("600\n")
    (one / "memory.stat").write_text("inactive_file 0\ntotal_inactive_file 20\n")
    groups = tmp_path / "cgroup"
    groups.write_text("0::/job/step\n")
    assert list(memory.left_to_groups(str(groups), tmp_path / "two")) == [350]
    groups.write_text("5:cpu:/\n4:memory:/job\n")
    assert list(memory.left_to_groups(str(groups), tmp_path / "one")) == [0]
    assert list(memory.left_to_groups(str(tmp_path / "none"))) == []
    assert 0 < memory.free() < 2**50


@pytest.mark.parametrize(("error", "lacking"), [
    (MemoryError(), True),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes. Error code 12"), True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    (ValueError("d must be even"), False),
])  # fmt: skip
def test_an_error_for_want_of_memory_is_told_from_others(error, lacking):
    assert memory.lacking(error) == lacking
    assert not lacking or len(memory.told(error)) > 5
