"""A sweep's command line: one option an axis, one name for it everywhere, one line for what cannot be meant."""

import dataclasses
import shlex
from itertools import chain
from pathlib import Path

import pytest

import trainables
from infra import options, training
from infra.launch import Sweep
from infra.planning import plan
from infra.planning.axes import PlanError

SWEEP = Sweep(
    name="width_vs_n",
    claim="How wide?",
    critical="m",
    over="n",
    axes={"two_layer_relu": {"n": "16,32", "m": "4:16:octave", "d": "8"}, "random_features": {"n": "8", "m": "8,9"}},
    seeds=7,
)


def parsed(text):
    return options.parse(SWEEP, shlex.split(text))


def refused(text, *parts):
    with pytest.raises(PlanError) as caught:
        parsed(text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert all(part in message for part in parts), message


@pytest.fixture
def toy(monkeypatch):
    """The family in families/toy.py, found like any other."""
    monkeypatch.setattr(trainables, "__path__", [*trainables.__path__, str(Path(__file__).parent / "families")])
    return trainables.load("toy")


def test_without_options_the_sweep_and_the_family_say_everything():
    request = parsed("")
    cell = trainables.load("two_layer_relu").Cell
    expected = {axis.name: [axis.default] for axis in dataclasses.fields(cell) if axis.name != "seed"}
    assert request.axes == expected | {"n": [16, 32], "m": [4, 8, 16], "d": [8]}
    assert request.family == request.options.family == "two_layer_relu"
    assert (request.options.seeds, request.options.level) == (7, 0.5)
    assert request.options.out == "results/width_vs_n-two_layer_relu"
    assert (request.options.dry_run, request.options.address, request.options.gpus) == (False, None, None)
    assert request.command == "python sweeps/width_vs_n.py"


@pytest.mark.parametrize("text", ["--n 8", "--d 4", "--level 0.9", "--dry-run", "--out elsewhere"])
def test_the_sweeps_number_of_seeds_holds_whatever_else_is_given(text):
    assert parsed(text).options.seeds == 7


def test_another_family_brings_its_own_axes_and_its_own_folder():
    request = parsed("--family random_features --m 5")
    assert request.axes == {"m": [5], "n": [8], "d": [16], "init_scale": [1.0], "tolerance": [1e-12]}
    assert request.options.out == "results/width_vs_n-random_features"
    assert parsed("--m 5 --family=random_features") == request


@pytest.mark.parametrize("name", ["step_size", "step-size"])
@pytest.mark.parametrize(
    "text", ["--{} 0.5,1", "--{}=0.5,1", "--{} ' 0.5 , 1.0 '", "--{} 0.5:1:octave", "--{}=0.5:1:+0.5"]
)
def test_an_axis_has_one_meaning_however_it_is_written(name, text):
    assert parsed(text.format(name)).axes["step_size"] == [0.5, 1.0]


def test_every_axis_of_every_family_is_an_option_of_its_own_name():
    for family in ("two_layer_relu", "random_features"):
        cell = trainables.load(family).SMALL
        values = {name: value for name, value in dataclasses.asdict(cell).items() if name != "seed"}
        request = options.parse(SWEEP, ["--family", family, *(f"--{name}={value}" for name, value in values.items())])
        assert request.axes == {name: [value] for name, value in values.items()}


def test_the_axes_are_those_of_the_cells(toy):
    sweep = dataclasses.replace(SWEEP, axes={"toy": {}})
    request = options.parse(
        sweep, shlex.split("--m 4,8 --bias true,false --labels gauss --scale 0 --length 3 --seeds 2")
    )
    cells = plan.grid("toy", request.axes, request.options.seeds)
    assert len(cells) == 8
    assert cells[0] == toy.Cell(m=4, bias=True, labels="gauss", scale=0.0, length=3.0, seed=0)


def test_an_axis_without_a_default_must_be_given(toy):
    assert toy.Cell(m=1)
    with pytest.raises(PlanError, match=r"^--m: toy has no default for it; write for instance --m 16,32,64$"):
        options.parse(dataclasses.replace(SWEEP, axes={"toy": {}}), [])


def test_a_family_may_declare_that_an_axis_is_positive(toy, monkeypatch):
    positive = {"meaning": "step size", "unit": "1", "positive": True}
    cell = dataclasses.make_dataclass("Cell", [("eta", float, dataclasses.field(default=1.0, metadata=positive))])
    monkeypatch.setattr(toy, "Cell", cell)
    sweep = dataclasses.replace(SWEEP, axes={"toy": {}})
    with pytest.raises(PlanError, match=r"^--eta 0: 0 is too small; it must be above 0$"):
        options.parse(sweep, ["--eta", "0"])
    assert options.parse(sweep, ["--eta", "0.1"]).axes == {"eta": [0.1]}


def test_the_command_says_the_same_again():
    request = parsed("--n 16,32 --noise '0, 0.5' --seeds 3 --out 'my results'")
    again = options.parse(SWEEP, shlex.split(request.command)[2:])
    assert again == request
    assert again.command == request.command


def test_help_names_every_option_its_unit_and_its_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert parsed("--help") is None
    shown = " ".join(capsys.readouterr().out.split())
    names = [axis.name for axis in dataclasses.fields(trainables.load("two_layer_relu").Cell)]
    assert all(f"--{name}" in shown for name in names if name != "seed")
    for part in ("How wide?", "half-octave", "hidden units [units] (default: 4:16:octave)", "[default: 7]"):
        assert part in shown
    assert parsed("--family random_features --help") is None
    shown = capsys.readouterr().out
    assert "--max_steps" not in shown
    assert "random features" in shown


def test_options_of_a_threshold_are_not_shown_where_none_is_sought(capsys, monkeypatch):
    """They are understood all the same, and told of where they say nothing."""
    monkeypatch.setenv("COLUMNS", "200")
    seeking = ["--level", "--adaptive", "--target-se", "--trainings", "--minutes", "--flops", "--to-the-end"]
    for sweep in (SWEEP, dataclasses.replace(SWEEP, critical=None)):
        assert options.parse(sweep, ["--help"]) is None
        shown = capsys.readouterr().out
        assert [name for name in seeking if f"{name} " in shown] == (seeking if sweep.critical else [])
        assert "--seeds" in shown and "--quiet" in shown
        request = options.parse(sweep, ["--to-the-end", "--level=0.25"])
        assert request.options.to_the_end and request.options.level == 0.25
    with pytest.raises(PlanError, match="seeks no threshold"):
        options.parse(dataclasses.replace(SWEEP, critical=None), ["--adaptive"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("--family foo", ["--family", "unknown family 'foo'; known: ", "random_features", "two_layer_relu"]),
        ("--family ''", ["--family", "unknown family ''"]),
        ("--family=", ["--family", "known:"]),
        ("--family", ["--family requires an argument"]),
        ("--family linalg", ["unknown family 'linalg'"]),
        ("--family ../x", ["unknown family '../x'"]),
        ("--family random_features --labels gauss", ["--labels", "Axes of random_features: --m, --n"]),
        ("--width 16", ["--width", "Axes of two_layer_relu: --m, --n, --d", "--help"]),
        ("--seed 3", ["--seed", "--seeds"]),
        ("--n 16 32", ["'32' belongs to no option; write a list with commas: --n 16,32,64"]),
        ("run", ["'run' belongs to no option"]),
        ("--n 16 --n 32", ["--n is given twice", "with commas"]),
        ("--n", ["--n requires an argument"]),
        ("--n ''", ["--n: empty; write a list"]),
        ("--noise ''", ["--noise: empty"]),
        ("--noise=", ["--noise: empty"]),
        ("--n 0", ["--n: 0 is too small"]),
        ("--m -8", ["--m: -8 is too small"]),
        ("--m=-8:8:+1", ["--m: -8 is too small"]),
        ("--m 8:4:octave", ["--m 8:4:octave: the range descends"]),
        ("--n '16\n32'", ["--n: '16 32' is not a whole number"]),
        ("--labels foo", ["--labels: 'foo' is not one of gauss, sign"]),
        ("--dtype float16", ["--dtype: 'float16' is not one of float64, float32"]),
        ("--step_size nan", ["--step_size: nan is not finite"]),
        ("--step-size=-1", ["--step_size: -1 is too small"]),
        ("--max_steps 0", ["--max_steps: 0 is too small"]),
        ("--seeds 0", ["--seeds: 0 is too small; it must be at least 1"]),
        ("--seeds -3", ["--seeds: -3 is too small"]),
        ("--seeds abc", ["--seeds: 'abc' is not a whole number"]),
        ("--seeds 1.5", ["--seeds: '1.5' is not a whole number"]),
        ("--seeds ''", ["--seeds: '' is not a whole number"]),
        ("--seeds 3 --seeds 4", ["--seeds is given twice"]),
        ("--level 0", ["--level: 0 is not a probability between 0 and 1"]),
        ("--level 1", ["--level: 1 is not a probability"]),
        ("--level nan", ["--level: nan is not a probability"]),
        ("--level half", ["--level", '"half"']),
        ("--gpus -1", ["--gpus: -1 is not a number of GPUs; write for instance 1, 0.5 or 0"]),
        ("--gpus nan", ["--gpus: nan is not"]),
        ("--gpus inf", ["--gpus: inf is not"]),
        ("--gpus two", ["--gpus", '"two"']),
        ("--out ''", ["--out: empty; write a path, or a URI such as s3://bucket/du"]),
        ("--dry-run=maybe", ["--dry-run", '"maybe"']),
        ("--version", ["--version"]),
        (
            "--target-se 0.1",
            ["--target-se ends a search by --adaptive; write --adaptive too, or leave --target-se out"],
        ),
        ("--target-se 0.02", ["--target-se", "--adaptive"]),
        ("--trainings 50 --dry-run", ["--trainings", "write --adaptive too"]),
        ("--minutes 5", ["--minutes", "write --adaptive too"]),
        ("--flops 1e12", ["--flops", "write --adaptive too"]),
        ("--adaptive --seeds 7", ["--seeds: --adaptive chooses", "--trainings 500"]),
        ("--adaptive --trainings 0.5", ["--trainings: '0.5' is not a whole number"]),
        ("--adaptive --trainings 0", ["--trainings: 0 is too small; it must be at least 1"]),
        ("--adaptive --target-se 0", ["--target-se: 0 must be above 0"]),
        ("--adaptive --minutes inf", ["--minutes: inf must be above 0 and finite"]),
        ("--adaptive --family identity_mapping", ["--adaptive", "identity_mapping has no m"]),
    ],
)
def test_what_cannot_be_meant_gets_one_line_that_names_the_option(text, parts):
    refused(text, *parts)


@pytest.mark.parametrize("family", trainables.names())
def test_the_knobs_of_a_family_are_freedoms_of_the_training(family):
    """And real numbers: the search for the best value goes by logarithms."""
    axes = {axis.name: axis for axis in dataclasses.fields(trainables.load(family).Cell)}
    knobs = {name for name, axis in axes.items() if axis.metadata["knob"]}
    assert knobs and {axes[name].type for name in knobs} == {float}
    assert {"step_size", "init_scale", "momentum", "ratio", "theta_step"} & set(axes) <= knobs
    others = {"budget", "tolerance", "noise", "label_noise", "alpha", "margin", "s", "teacher_norm", "contraction"}
    assert not knobs & others


@pytest.mark.parametrize("role", ["over", "critical"])
def test_the_axes_of_the_question_are_not_tuned(role):
    sweep = dataclasses.replace(SWEEP, **{role: "step_size"})
    with pytest.raises(PlanError, match=r"'step_size' is no knob .* known: init_scale$"):
        options.parse(sweep, ["--tune", "step_size"])


def test_an_adaptive_search_has_a_target_and_only_the_limits_that_are_given(capsys):
    silent = parsed("--adaptive").options
    assert (silent.target_se, silent.trainings, silent.minutes, silent.flops) == (0.02, None, None, None)
    given = parsed("--adaptive --target-se 0.1 --trainings 50 --minutes 2 --flops 1e12").options
    assert (given.target_se, given.trainings, given.minutes, given.flops) == (0.1, 50, 2.0, 1e12)
    assert capsys.readouterr().err == ""


def test_an_adaptive_search_needs_a_threshold_to_seek():
    with pytest.raises(PlanError, match=r"^--adaptive: width_vs_n seeks no threshold; leave it out$"):
        options.parse(dataclasses.replace(SWEEP, critical=None), ["--adaptive"])


@pytest.mark.parametrize("name", ["noise", "label_noise"])
def test_an_adaptive_search_takes_values_above_0_on_both_its_axes(name):
    sweep = dataclasses.replace(SWEEP, critical="noise", over="label_noise")
    above = {"--noise": "0.5,1", "--label_noise": "0.5,1", "--n": "16", "--m": "8"}
    assert options.parse(sweep, ["--adaptive", *chain(*above.items())]).options.adaptive
    with pytest.raises(PlanError, match=f"^--{name}: --adaptive takes its logarithm; write values above 0, not 0$"):
        options.parse(sweep, ["--adaptive", *chain(*(above | {f"--{name}": "0,1"}).items())])
    assert 0 in options.parse(sweep, [f"--{name}", "0,1"]).axes[name]


def test_a_step_budget_in_an_adaptive_search_is_told_not_to_be_a_limit(capsys):
    assert parsed("--adaptive --budget 200").axes["budget"] == [200.0]
    (line,) = capsys.readouterr().err.splitlines()
    assert "--budget is the axis 'step budget" in line and "--trainings, --minutes or --flops" in line
    parsed("--budget 200")
    options.parse(
        dataclasses.replace(SWEEP, axes={"two_layer_relu": {"budget": "200"}}), ["--adaptive", "--n=1", "--m=1"]
    )
    assert capsys.readouterr().err == ""


def test_mlflow_is_where_the_option_then_the_environment_say(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    given, silent = parsed("--tracking-uri http://a:1").options, parsed("").options
    assert options.tracking_uri(silent.tracking_uri, "here") == "here"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://b:2")
    assert options.tracking_uri(silent.tracking_uri, "here") == "http://b:2"
    assert options.tracking_uri(given.tracking_uri, "here") == "http://a:1"


def test_a_preset_is_laid_over_the_default_grid():
    sweep = dataclasses.replace(SWEEP, presets={"small": {"two_layer_relu": {"n": "4", "d": "3"}}})
    request = options.parse(sweep, ["--preset", "small", "--d", "2"])
    assert request.axes["n"] == [4] and request.axes["m"] == [4, 8, 16] and request.axes["d"] == [2]
    with pytest.raises(PlanError, match="no preset 'large' for two_layer_relu; known: small"):
        options.parse(sweep, ["--preset", "large"])
    with pytest.raises(PlanError, match="no preset 'small' for random_features; known: none"):
        options.parse(sweep, ["--family", "random_features", "--preset=small"])


def test_the_hopeless_are_stopped_where_a_threshold_is_sought_unless_asked_not_to():
    assert not training.to_the_end(parsed("")) and training.to_the_end(parsed("--to-the-end"))
    shares = dataclasses.replace(SWEEP, critical=None)
    assert training.to_the_end(options.parse(shares, []))
