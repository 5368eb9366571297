"""What ``widthlaw fit`` prints: envelope, thresholds, floors, both parts of a break, and how files are separated."""

import runpy
import sys

import numpy as np
import pandas as pd
import pytest
from test_fit import fitted, outcomes, planted, run

from infra.commands import cli

__all__ = ["outcomes"]  # the fixture


def test_the_text_shows_the_envelope_and_the_thresholds(capsys, outcomes):
    arguments = [outcomes, "--critical", "m", "--over", "n"]
    found, (_, words, _) = fitted(capsys, *arguments), run(capsys, "fit", *arguments)
    low, high = found["law"]["envelope"]
    first, status, *more = words.splitlines()
    assert f", envelope [{low:.3f}, {high:.3f}] (" in first
    assert status.startswith("status: ok")
    assert [line.split()[0] for line in more[-4:]] == ["4", "8", "16", "32"]
    for line, point in zip(more[-4:], found["thresholds"], strict=True):
        assert f"{point['critical']:.4g}" in line
    local = found["law"]["local"]
    assert len(local) == 3 and f"{local[0]['exponent']:.2f} [" in words
    assert {"forms", "scatter", "lapse"} <= set(found["law"])
    one = run(capsys, "fit", *arguments, "--where", "n=8")[1]
    assert one.startswith("m* = ") and "at n = 8 (" in one


def test_a_floor_leads_with_the_envelope(capsys, tmp_path):
    rng = np.random.default_rng(3)
    n, m = (part.ravel() for part in np.meshgrid(2.0 ** np.arange(2, 11), np.round(np.geomspace(2, 600, 24))))
    k = rng.binomial(20, 1 / (1 + ((8 + n / 4) / m) ** 6.0))
    pd.DataFrame({"n": n, "m": m, "k": k, "N": 20}).to_csv(tmp_path / "floor.csv", index=False)
    arguments = [tmp_path / "floor.csv", "--critical", "m", "--over", "n", "--successes", "k", "--trials", "N"]
    law, (_, words, _) = fitted(capsys, *arguments)["law"], run(capsys, "fit", *arguments)
    assert law["form"] == "floor + power law"
    low, high = law["envelope"]
    assert words.startswith(f"exponent in [{low:.3f}, {high:.3f}] (envelope); m* = {law['offset']:.3g} + ")
    assert {form["name"] for form in law["forms"]} >= {"power law", "floor + power law"}
    assert law["over_range"][0] > 8


def test_a_broken_power_law_has_both_slopes_in_the_object(capsys, tmp_path):
    x = np.repeat(2.0 ** np.arange(4, 13), 5)
    y = np.where(x < 256, 256 / x, (256 / x) ** 0.2) * np.exp(np.random.default_rng(0).normal(0, 0.05, x.size))
    pd.DataFrame({"m": x, "drift": y}).to_csv(tmp_path / "broken.csv", index=False)
    law = fitted(capsys, tmp_path / "broken.csv", "--metric", "drift", "--over", "m")["law"]
    assert law["status"] == "broken"
    assert law["exponent"] == law["broken"]["after"] == pytest.approx(-0.2, abs=0.05)
    assert law["broken"]["before"] == pytest.approx(-1.0, abs=0.1)
    assert law["over_range"] == [law["broken"]["at"], 4096]


def test_separators_are_read_or_named(capsys, tmp_path):
    arguments = ["--critical", "m", "--over", "n"]
    planted().to_csv(tmp_path / "tabs.tsv", sep="\t", index=False)
    assert fitted(capsys, tmp_path / "tabs.tsv", *arguments)["law"]["status"] == "ok"
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        planted().to_csv(tmp_path / "other.csv", sep=sign, index=False)
        code, _, (line,) = run(capsys, "fit", tmp_path / "other.csv", *arguments)
        assert code == 2 and f"separated by {name}" in line
    code, _, (line,) = run(capsys, "fit", tmp_path / "none.csv", *arguments)
    assert code == 2 and "no such file" in line and "Errno" not in line


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")  # it is: they are in sys.argv
def test_the_module_is_the_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cli", "fit", "none.csv", "--critical", "m", "--over", "n"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(cli.__file__, run_name="__main__")
    assert "none.csv: no such file" in capsys.readouterr().err
