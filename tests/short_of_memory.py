"""Run by test_halving.py in a process of its own: train a pack under a limit on the address space; print what happened.

Arguments, JSON: family, axes, size; ``free_blocks`` to train before the limit is set; ``grant``, the share of the
pack's modelled peak that may be taken from then on; ``lift`` the limit once a training has failed for want of memory.
"""

import io
import json
import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch
from training import assert_same_bits, by_id, seeds, trained

import trainables
from infra.packing import halving, pack
from infra.planning import memory

ask = json.loads(sys.argv[1])
family, module = ask["family"], trainables.load(ask["family"])
cell = replace(module.SMALL, **ask["axes"])
cells = seeds(cell, ask["size"])
reference = trained(family, cells)
need = memory.peak(module, cell) * ask["size"]


def limit(extra=None):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.RLIM_INFINITY if extra is None else taken + extra
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def through_a_file(packed):
    file = io.BytesIO()
    torch.save(halving.save(packed), file)
    file.seek(0)
    return halving.resume(torch.load(file, weights_only=True), cells)


packed, halved, blocks = halving.start(family, cells), [], 0
while not halving.finished(packed):
    if blocks == ask["free_blocks"]:
        limit(int(ask["grant"] * need))
    largest, k = packed.largest, packed.parts[0].k
    halving.advance(packed)
    blocks += 1
    if packed.largest < largest:
        live = sorted(i for part in packed.parts for i in part.live)
        done = sorted(packed.whole.rows)
        assert sorted(live + done) == list(range(len(cells))), "a cell is lost, or in two parts"
        halved.append([k, packed.parts[0].k, packed.parts[0].state is not None])
        if len(halved) == 1:
            limit()
            packed = through_a_file(packed)
            limit(int(ask["grant"] * need))
    if ask["lift"] and any(row["outcome"] == "failed" for row in packed.whole.rows.values()):
        limit()
limit()
rows = by_id(pack.rows(packed.whole))
failed = {key: row for key, row in rows.items() if row["outcome"] == "failed"}
assert set(rows) == set(reference)
assert_same_bits({key: row for key, row in rows.items() if key not in failed}, reference)
why = sorted({row["reason"] for row in failed.values()})
print(json.dumps({"largest": packed.largest, "halved": halved, "failed": len(failed), "why": why, "said": packed.why}))
