"""Run by test_halving.py in a process of its own: train packs under a limit on the address space; print what happened.

Argument, JSON: a list of cases, each with family, axes, size; ``free_blocks`` to train before the limit is set;
``grant``, the share of the pack's modelled peak that may be taken from then on; ``lift`` the limit once a training has
failed for want of memory. Printed: a line a case.
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


def limit(extra=None):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.RLIM_INFINITY if extra is None else taken + extra
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def through_a_file(packed, cells):
    file = io.BytesIO()
    torch.save(halving.save(packed), file)
    file.seek(0)
    return halving.resume(torch.load(file, weights_only=True), cells)


def told(ask):
    family, module = ask["family"], trainables.load(ask["family"])
    cell = replace(module.SMALL, **ask["axes"])
    cells = seeds(cell, ask["size"])
    reference = trained(family, cells)
    granted = int(ask["grant"] * memory.peak(module, cell) * ask["size"])
    packed, halved, blocks = halving.start(family, cells), [], 0
    while not halving.finished(packed):
        if blocks == ask["free_blocks"]:
            limit(granted)
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
                packed = through_a_file(packed, cells)
                limit(granted)
        if ask["lift"] and any(row["outcome"] == "failed" for row in packed.whole.rows.values()):
            limit()
    limit()
    rows = by_id(pack.rows(packed.whole))
    failed = {key: row for key, row in rows.items() if row["outcome"] == "failed"}
    assert set(rows) == set(reference)
    assert_same_bits({key: row for key, row in rows.items() if key not in failed}, reference)
    why = sorted({row["reason"] for row in failed.values()})
    return {"largest": packed.largest, "halved": halved, "failed": len(failed), "why": why, "said": packed.why}


for ask in json.loads(sys.argv[1]):
    print(json.dumps(told(ask)), flush=True)
