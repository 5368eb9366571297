"""An axis text means one list of values, or gets one line that says what to write instead."""

import itertools
import math
import tracemalloc
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.planning import axes
from infra.planning.axes import PlanError, parse_axis

Labels = Literal["gauss", "sign"]
KNOWN_STEPS = "octave, half-octave, third-octave, quarter-octave, eighth-octave, decade, half-decade or +S"


@pytest.mark.parametrize(
    ("text", "annotation", "values"),
    [
        ("16,32,64", int, [16, 32, 64]),
        (" 16 , 32 ", int, [16, 32]),
        ("64,16", int, [64, 16]),
        ("4:64:half-octave", int, [4, 6, 8, 11, 16, 23, 32, 45, 64]),
        ("4:256:octave", int, [4, 8, 16, 32, 64, 128, 256]),
        ("5:5:octave", int, [5]),
        ("1:9:+2", int, [1, 3, 5, 7, 9]),
        ("1 : 10 : +2", int, [1, 3, 5, 7, 9]),
        ("0:0.3:+0.1", float, [0, 0.1, 0.2, 0.3]),
        ("0:0.7:+0.1", float, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("1e-3:1:decade", float, [0.001, 0.01, 0.1, 1.0]),
        ("0.1:10:half-decade", float, [0.1, 0.316227766017, 1.0, 3.16227766017, 10.0]),
        ("1,0.5,1e-3", float, [1.0, 0.5, 0.001]),
        ("gauss, sign", Labels, ["gauss", "sign"]),
        ("true,false", bool, [True, False]),
    ],
)
def test_an_axis_text_means_these_values(text, annotation, values):
    parsed = parse_axis("x", text, annotation)
    assert parsed == values
    assert {type(value) for value in parsed} == {annotation if annotation in (int, float, bool) else str}


@given(st.lists(st.integers(1, 2**63 - 1), min_size=1, unique=True))
def test_a_list_of_whole_numbers_is_read_back(values):
    assert parse_axis("n", ",".join(map(str, values)), int) == values


@given(st.lists(st.floats(0, allow_infinity=False), min_size=1, unique=True))
def test_a_list_of_numbers_is_read_back_to_the_last_bit(values):
    assert parse_axis("scale", ",".join(map(repr, values)), float) == values


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(0, 500))
def test_an_arithmetic_range_of_whole_numbers_is_pythons(low, step, count):
    assert parse_axis("n", f"{low}:{low + step * count}:+{step}", int) == list(range(low, low + step * count + 1, step))


@given(st.floats(1e-6, 1e6), st.integers(0, 12), st.sampled_from(sorted(axes.STEPS)))
def test_a_geometric_range_has_its_ratio_and_holds_both_ends(low, count, step):
    """Values are rounded to 12 digits, so each is off by at most 5e-12 of itself, a ratio by twice that."""
    low = float(f"{low:.9g}")
    ratio = axes.STEPS[step]
    values = parse_axis("scale", f"{low!r}:{low * ratio**count!r}:{step}", float)
    assert len(values) == count + 1
    assert values[0] == low
    assert all(abs(b / a / ratio - 1) <= 1.1e-11 for a, b in itertools.pairwise(values))


def test_the_steps_are_what_music_and_base_ten_call_them():
    fractions = {"octave": 1, "half-octave": 2, "third-octave": 3, "quarter-octave": 4, "eighth-octave": 8}
    assert all(axes.STEPS[name] ** k == pytest.approx(2, rel=1e-15) for name, k in fractions.items())
    assert axes.STEPS["half-decade"] ** 2 == pytest.approx(axes.STEPS["decade"]) == 10
    assert set(axes.STEPS) == {*fractions, "decade", "half-decade"}


BAD = [
    ("", int, "empty; write a list like 16,32,64 or a range like 4:256:half-octave"),
    ("  ", float, "empty"),
    (",", int, "'' is not a whole number"),
    ("16,,32", int, "'' is not a whole number, for instance 16"),
    ("0", int, "0 is too small; it must be at least 1"),
    ("-4", int, "-4 is too small"),
    ("0:8:+2", int, "0 is too small; it must be at least 1"),
    ("0.4:8:+1", int, "'0.4' is not a whole number"),
    ("1:9:+2.5", int, "'2.5' is not a whole number"),
    ("1.5", int, "'1.5' is not a whole number"),
    ("1e3", int, "'1e3' is not a whole number"),
    ("0x10", int, "'0x10' is not a whole number"),
    ("1_000", int, "'1_000' is not a whole number"),
    ("١٦", int, "'١٦' is not a whole number"),
    ("16 32", int, "'16 32' is not a whole number"),
    ("16\n32", int, "'16 32' is not a whole number"),
    ("9223372036854775808", int, "is too large; a whole number is below 2^63"),
    ("nan", float, "nan is not finite"),
    ("inf", float, "inf is not finite"),
    ("1e400", float, "1e400 is not finite"),
    ("-0.5", float, "-0.5 is too small; it must be at least 0"),
    ("foo", float, "'foo' is not a number, for instance 0.1"),
    ("1,1", int, "1 comes up twice"),
    ("0,-0.0", float, "0.0 comes up twice"),
    ("1,1.0", float, "1.0 comes up twice"),
    ("gauss,gauss", Labels, "gauss comes up twice"),
    ("1:4:quarter-octave", int, "comes up twice; take a coarser step"),
    ("foo", Labels, "'foo' is not one of gauss, sign"),
    ("gauss:sign:octave", Labels, "is not one of gauss, sign"),
    ("yes", bool, "'yes' is not one of false, true"),
    ("64:4:octave", int, "the range descends; write the smaller end first"),
    ("1:9", int, "a range is LO:HI:STEP, for instance 4:256:half-octave"),
    ("1:9:+2:3", int, "a range is LO:HI:STEP"),
    ("::", int, "'' is not a whole number"),
    ("1:9:2", int, f"unknown step '2'; use {KNOWN_STEPS}"),
    ("1:9:Octave", int, f"unknown step 'Octave'; use {KNOWN_STEPS}"),
    ("1:9:+", int, "'' is not a whole number"),
    ("1:9:+-2", int, "-2 is too small"),
    ("1:9:+0", float, "the step must be above 0"),
    ("0:1:octave", float, "a geometric range starts above 0"),
    ("nan:4:octave", float, "nan is not finite"),
    ("1:1000000000000:+1", int, "more than 10000 values; take a coarser step"),
    ("0:1e12:+1", float, "more than 10000 values"),
    ("0:1:+1e-320", float, "more than 10000 values"),
    ("1e-300:1e300:octave", float, "too far apart"),
    ("1:1.0000000000001:+1e-14", float, "comes up twice"),
]


@pytest.mark.parametrize(("text", "annotation", "advice"), BAD)
def test_a_text_that_is_no_axis_gets_one_line_that_names_the_option(text, annotation, advice):
    tracemalloc.start()
    try:
        with pytest.raises(PlanError) as caught:
            parse_axis("x", text, annotation)
        assert tracemalloc.get_traced_memory()[1] < 2**20, "a refusal takes no memory"
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith("--x")
    assert advice in message
    assert len(message.splitlines()) == 1


@given(st.text(max_size=20), st.sampled_from([int, float, bool, Labels]))
def test_any_text_is_an_axis_or_a_plan_error(text, annotation):
    try:
        values = parse_axis("x", text, annotation)
    except PlanError as error:
        if len(str(error).splitlines()) != 1:
            pytest.fail("more than one line")
        return
    assert 0 < len(values) == len(set(values)) <= axes.LONGEST_AXIS
    numbers = [value for value in values if value not in ("gauss", "sign")]
    assert all(value >= (annotation is int) and math.isfinite(value) for value in numbers)


def test_an_axis_that_must_be_positive_refuses_zero_only():
    with pytest.raises(PlanError, match=r"^--step_size 0,1: 0 is too small; it must be above 0$"):
        parse_axis("step_size", "0,1", float, positive=True)
    assert parse_axis("step_size", "1e-300", float, positive=True) == [1e-300]
    assert parse_axis("label_noise", "0", float) == [0]


def test_a_negative_zero_is_zero():
    assert math.copysign(1, parse_axis("noise", "-0.0", float)[0]) == 1
