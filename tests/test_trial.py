"""A trial goes on from its checkpoint, with the same bits and without training again."""

import json
import os
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from training import assert_same_bits, by_id, seeds, trained

from infra import provenance
from infra.packing import pack
from infra.planning import plan
from infra.progress import Progress
from infra.relay import Relay
from infra.store import records
from infra.store.storage import ResultsError
from infra.trial import PackTrial, now
from trainables import two_layer_relu

CELLS = seeds(two_layer_relu.Cell(m=16, n=24, d=8), 5)


def config(out):
    job = {
        "family": "two_layer_relu",
        "columns": json.dumps(plan.to_columns(CELLS)),
        "size": len(CELLS),
        "out": str(out),
    }
    return {
        "job": job
        | {"pack": 0, "device": "cpu", "code": provenance.code(), "commit": "", "data_dir": "", "to_the_end": False}
        | {"largest": 0, "mark": "", "states": f"{out}/states"}
    }


def test_goes_on_from_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("infra.trial.REPORT_SECONDS", 0.0)  # a report after every block
    first, began = PackTrial(config(tmp_path)), now()
    for _ in range(3):
        assert not first.step()["done"], "the pack is too short to test anything"
    second = PackTrial(config(tmp_path))
    taken_up = second.take_up()
    assert taken_up.parts[0].k == first.progress.parts[0].k > 0
    assert second.seconds == first.seconds > 0
    while not second.step()["done"]:
        assert list((tmp_path / "states").iterdir()) == [tmp_path / "states" / "pack-0.pt"]
    assert not list((tmp_path / "states").iterdir()), "of no use once the rows are written"
    rows = by_id(pack.rows(second.progress.whole))
    assert_same_bits(rows, trained("two_layer_relu", CELLS))
    recorded = records.read_rows(str(tmp_path))[0].to_pylist()
    assert {row["worker"] for row in recorded} == {os.getpid()}
    assert {(row["started"], row["finished"]) for row in recorded} == {(second.started, recorded[0]["finished"])}
    assert began <= first.started <= second.started <= recorded[0]["finished"]
    assert second.reset_config(config(tmp_path)) and not second.started, "the next pack begins later"
    assert {row["cell_id"]: row["loss"] for row in recorded} == {key: row["loss"] for key, row in rows.items()}


def test_a_node_with_other_code_says_so(tmp_path):
    other = config(tmp_path)
    other["job"]["code"] = "another"
    with pytest.raises(RuntimeError, match="install the same version"):
        PackTrial(other)


def test_a_node_that_does_not_see_the_results_folder_trains_nothing(tmp_path):
    unseen = config(tmp_path / "out")
    unseen["job"]["mark"] = str(tmp_path / "elsewhere")
    trial = PackTrial(unseen)
    with pytest.raises(ResultsError, match=r"^host \S+ does not see it and would lose its rows"):
        trial.step()
    assert trial.progress is None and not (tmp_path / "out").exists()
    (tmp_path / "elsewhere").touch()
    assert trial.step()["outcomes"]


def test_a_checkpoint_that_cannot_be_written_is_told_once_and_training_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("infra.trial.REPORT_SECONDS", 0.0)
    (tmp_path / "states").touch()  # where a folder should be
    trial, progress = PackTrial(config(tmp_path)), Progress([], Counter(), {"over": "n", "critical": "m"})
    relay, of = Relay(progress, threading.Event()), SimpleNamespace(config=config(tmp_path))
    while not (result := trial.step())["done"]:
        relay.on_trial_result(trial=of, result=result)
    assert len(records.read_rows(str(tmp_path))[0]) == len(CELLS)
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if line.startswith(f"cannot write {tmp_path}/states/pack-0.pt")]) == 1, told
    assert (
        sum("training goes on, an interrupted pack from its last checkpoint, if it has one" in line for line in told)
        == 1
    )
