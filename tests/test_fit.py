"""``widthlaw fit``: anybody's data, one JSON object, one clear line for data that are wrong."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from training import seeds

from infra import cli, pack, plan, records
from trainables import random_features


def planted(n_seeds=40):
    """Single trainings with m* = 2 n^1.5, slope 4 in log m."""
    rng = np.random.default_rng(7)
    rows = [
        (n, m, seed, int(rng.random() < 1 / (1 + np.exp(-4 * np.log(m / (2 * n**1.5))))))
        for n in (4, 8, 16, 32)
        for m in np.unique(np.round(2 * n**1.5 * 2.0 ** np.arange(-3, 3.5, 0.5)))
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows, columns=["n", "m", "seed", "success"])


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err.strip().splitlines()


def fitted(capsys, *arguments):
    code, out, _ = run(capsys, "fit", *arguments, "--json")
    assert code == 0
    return json.loads(out)


@pytest.fixture(params=["csv", "parquet"])
def outcomes(request, tmp_path):
    path = tmp_path / f"outcomes.{request.param}"
    frame = planted()
    frame.to_csv(path, index=False) if request.param == "csv" else frame.to_parquet(path)
    return path


def test_a_planted_threshold_law_is_recovered(capsys, outcomes):
    found = fitted(capsys, outcomes, "--critical", "m", "--over", "n")
    low, high = found["law"]["interval"]
    assert low < 1.5 < high
    assert high - low < 0.3  # 2,080 trainings: the benchmark's standard error at 2,000 is about .05
    assert found["law"]["status"] == "ok"
    assert [point["over"] for point in found["thresholds"]] == [4, 8, 16, 32]
    assert set(found["thresholds"][0]) >= {"over", "critical", "interval", "censored", "separated", "trainings"}
    assert found["counts"] == {"rows": len(planted()), "trainings": len(planted()), "dropped": 0}
    assert found["data_sha256"] == hashlib.sha256(outcomes.read_bytes()).hexdigest()


def test_aggregated_counts_give_the_same_law(capsys, outcomes, tmp_path):
    counts = planted().groupby(["n", "m"], as_index=False).agg(k=("success", "sum"), N=("success", "size"))
    counts.to_csv(tmp_path / "counts.csv", index=False)
    single = fitted(capsys, outcomes, "--critical", "m", "--over", "n")
    names = ["--critical", "m", "--over", "n", "--successes", "k", "--trials", "N"]
    assert fitted(capsys, tmp_path / "counts.csv", *names)["law"] == single["law"]


def test_a_planted_power_law_is_recovered(capsys, tmp_path):
    rng = np.random.default_rng(3)
    m = np.repeat([16, 32, 64, 128, 256, 512], 10)
    frame = pd.DataFrame({"m": m, "drift": 3 * m**-0.5 * np.exp(0.1 * rng.standard_normal(m.size))})
    frame.to_csv(tmp_path / "metrics.csv", index=False)
    found = fitted(capsys, tmp_path / "metrics.csv", "--metric", "drift", "--over", "m")
    low, high = found["law"]["interval"]
    assert low < -0.5 < high
    assert found["thresholds"] == []
    _, words, _ = run(capsys, "fit", tmp_path / "metrics.csv", "--metric", "drift", "--over", "m")
    assert words.startswith("drift = ") and "status: ok" in words


def test_a_results_folder_is_data_too(capsys, tmp_path):
    for m in (15, 16, 17):
        for n in (16, 24):
            cells = seeds(random_features.Cell(m=m, n=n), 3)
            rows = pack.start("random_features", cells)
            while not pack.finished(rows):
                pack.advance(rows)
            records.write_shard(str(tmp_path), pack.rows(rows), plan.row_schema("random_features"))
    found = fitted(capsys, tmp_path, "--critical", "m", "--over", "n")
    first, second = found["thresholds"]
    assert first["interval"][0] <= 15 and first["interval"][1] >= 16, "the bracket lies in the interval"
    assert first["separated"]
    assert second["censored"] == "above"
    assert found["data_sha256"] == records.digest(records.read_rows(str(tmp_path))[0])


def test_missing_outcomes_are_dropped_and_counted(capsys, tmp_path):
    frame = planted().astype({"success": float})
    frame.loc[::10, "success"] = np.nan
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    found = fitted(capsys, tmp_path / "gaps.csv", "--critical", "m", "--over", "n")
    assert found["counts"]["dropped"] == len(frame.loc[::10])
    assert found["counts"]["trainings"] + found["counts"]["dropped"] == len(frame)


@pytest.mark.parametrize("outcome", [0, 1])
def test_data_that_carry_no_law_end_in_a_status(capsys, tmp_path, outcome):
    planted().assign(success=outcome).to_csv(tmp_path / "flat.csv", index=False)
    found = fitted(capsys, tmp_path / "flat.csv", "--critical", "m", "--over", "n")
    assert found["law"]["exponent"] is None
    assert found["law"]["status"] == ["all failed", "all succeeded"][outcome]


@pytest.mark.parametrize(
    ("change", "arguments", "named"),
    [
        ({}, ["--critical", "width", "--over", "n"], ["no column 'width'", "n, m, seed, success"]),
        ({"success": 2}, ["--critical", "m", "--over", "n"], ["row 0", "success"]),
        ({"m": 0}, ["--critical", "m", "--over", "n"], ["row 0", "m"]),
        ({"m": "wide"}, ["--critical", "m", "--over", "n"], ["row 0", "m is 'wide'", "not a number"]),
        ({"k": 5, "N": 4}, ["--critical", "m", "--over", "n", "--successes", "k", "--trials", "N"], ["row 0", "more"]),
        ({"k": 5}, ["--critical", "m", "--over", "n", "--successes", "k"], ["--trials"]),
        ({}, ["--over", "n"], ["--metric", "--critical"]),
        ({}, ["--critical", "m", "--over", "n", "--where", "n:4"], ["--where n:4", "name=value"]),
        ({}, ["--critical", "m", "--over", "n", "--level", "1"], ["level"]),
        ({}, ["--critical", "m"], ["--over"]),
    ],
)
def test_wrong_data_get_one_line(capsys, tmp_path, change, arguments, named):
    planted(2).assign(**change).to_csv(tmp_path / "wrong.csv", index=False)
    code, _, lines = run(capsys, "fit", tmp_path / "wrong.csv", *arguments)
    assert code == 2
    (line,) = lines
    assert all(part in line for part in named), line


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense", None])
def test_files_that_cannot_be_read_get_one_line(capsys, tmp_path, content):
    path = tmp_path / "data.parquet"
    if content is not None:
        path.write_bytes(content)
    code, _, lines = run(capsys, "fit", path, "--critical", "m", "--over", "n")
    assert code == 2
    assert len(lines) == 1
    assert str(path) in lines[0]
