"""Claims are well-formed data; every kind of verdict is reached by a planted case; none is reached too often."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

import trainables
from analysis.claims import theory
from analysis.claims.theory import Claim, Source
from analysis.claims.verdict import ANSWERS, Law, Verdict, against_bound, against_exponent, against_probability
from analysis.powerlaws.fitting import fit_power_law
from analysis.thresholds.law import ThresholdLaw

CLAIMS = [theory.claim(family, told) for family in trainables.names() for told in trainables.load(family).CLAIMS]
CLAIMS_OF_DU = [claim for claim in CLAIMS if claim.family == "two_layer_relu"]
WIDTH = Claim(
    name="planted width",
    family="planted",
    statement="m = Ω(n²) suffices",
    source=Source("Planted 2020", "0000.00000", "Theorem 1"),
    tag="paper",
    direction="sufficient",
    over="n",
    critical="m",
    exponent=2.0,
)
DRIFT = replace(WIDTH, statement="drift = O(m^(−1/2))", over="m", critical=None, metric="drift", exponent=-0.5)
BOUND = replace(DRIFT, direction="inequality", exponent=None, bound="drift_bound", constant=1.0)
PROBABILITY = replace(BOUND, direction="probability", metric="solved", bound=None)


@dataclass(frozen=True)
class PlantedLaw:
    exponent: float
    envelope: tuple[float, float]
    status: str = "ok"
    over_range: tuple[float, float] = (16.0, 512.0)
    offset: float = 0.0


def assert_pasteable(verdict: Verdict) -> None:
    """The sentence stands alone: claim, source, tag, one full stop at its end, no number missing."""
    claim = verdict.claim
    for part in (claim.statement, str(claim.source), f"[{claim.tag}"):
        assert part in verdict.sentence
    assert verdict.sentence.endswith(".")
    assert "nan" not in verdict.sentence


# --- claims ------------------------------------------------------------------------------------------------------


def test_a_claim_speaks_of_one_thing_and_says_where_it_stands() -> None:
    assert len({(claim.family, claim.name) for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        about = [claim.critical, claim.metric, claim.order, claim.direction == "probability" or None]
        assert any(about) and not (claim.critical and claim.metric), claim.name
        assert claim.statement
        assert claim.source.paper
        assert claim.source.where
        assert claim.hypotheses
        assert claim.exponent is not None or claim.bound is not None or claim.order is not None
        assert "\n" not in claim.statement


def test_the_width_of_du_et_al_is_there_with_its_exponent_and_its_source() -> None:
    first = CLAIMS_OF_DU[0]
    assert (first.critical, first.over, first.exponent, first.tag) == ("m", "n", 6.0, "paper")
    assert str(first.source) == "Du, Zhai, Poczos, Singh 2018, arXiv:1810.02054, Theorems 3.2 and 4.1"
    assert {c.metric for c in CLAIMS_OF_DU if c.exponent == -0.5} == {
        *("dist_max", "dist_rms", "flips", "gram_drift", "gram_init_gap")
    }
    assert [c.direction for c in CLAIMS if c.family == "random_features"] == ["sufficient", "necessary"]
    assert theory.claims({"family": "a family without claims"}) == ()


def test_what_is_quoted_from_memory_gates_nothing() -> None:
    for claim in CLAIMS:
        assert claim.gates == (claim.tag != "recalled")
    verdict = against_bound(replace(BOUND, tag="recalled"), [2.0], [1.0], ["cell"])
    assert verdict.kind == "violated"
    assert not verdict.gates
    assert "[recalled; quoted from memory: decides nothing]" in verdict.sentence


# --- a law against an exponent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("envelope", "kind", "label"),
    [
        ((1.8, 2.2), "consistent", "consistent"),
        ((1.75, 2.25), "consistent", "consistent"),  # the margin belongs to it
        ((0.8, 1.2), "loose", "loose by n^1.00"),
        ((2.5, 3.5), "exceeds", "exceeds on n in [16, 512]"),
        ((1.7, 2.2), "inconclusive", "inconclusive"),
        ((1.5, 1.9), "inconclusive", "inconclusive"),  # below 2, but by less or more than the margin
        ((-np.inf, 1.0), "inconclusive", "inconclusive"),
    ],
)
def test_the_envelope_decides(envelope: tuple[float, float], kind: str, label: str) -> None:
    middle = 1.0 if np.isinf(envelope[0]) else sum(envelope) / 2
    verdict = against_exponent(PlantedLaw(middle, envelope), WIDTH)
    assert (verdict.kind, verdict.label) == (kind, label)
    assert "n in [16, 512]" in verdict.sentence
    assert f"[{envelope[0]:.2f}, {envelope[1]:.2f}]" in verdict.sentence
    assert_pasteable(verdict)


def test_the_sentence_of_a_loose_width() -> None:
    verdict = against_exponent(PlantedLaw(0.68, (0.5, 0.86)), CLAIMS_OF_DU[0])
    assert verdict.factor == pytest.approx(5.32)
    assert verdict.sentence == (
        "m = Ω(n⁶ λ₀⁻⁴ δ⁻³) hidden units suffice for gradient descent to reach zero loss "
        "(Du, Zhai, Poczos, Singh 2018, arXiv:1810.02054, Theorems 3.2 and 4.1) [paper]. "
        "Measured: m* ~ n^0.68 (95% envelope of the exponent [0.50, 0.86]) on n in [16, 512]; "
        "the claimed exponent 6 is loose by n^5.14 to n^5.50 on this range."
    )


def test_an_unstated_constant_is_never_violated() -> None:
    rng = np.random.default_rng(1)
    for lo, width in zip(rng.uniform(-9, 9, 200), rng.uniform(0, 3, 200), strict=True):
        verdict = against_exponent(PlantedLaw(lo + width / 2, (lo, lo + width)), WIDTH)
        assert verdict.kind in ("consistent", "loose", "exceeds", "inconclusive")
        assert "violated" not in verdict.sentence
        assert ("no finite range refutes" in verdict.sentence) == (verdict.kind == "exceeds")


def test_a_lower_bound_is_read_from_the_other_side() -> None:
    below, above = PlantedLaw(1.0, (0.8, 1.2)), PlantedLaw(3.0, (2.8, 3.2))
    necessary, step = replace(WIDTH, direction="necessary"), replace(WIDTH, small=True)
    for claim in (necessary, step):
        assert against_exponent(above, claim).kind == "loose"
        verdict = against_exponent(below, claim)
        assert verdict.kind == "exceeds"
        assert "falls below" in verdict.sentence
    assert against_exponent(below, replace(necessary, small=True)).kind == "loose"


@pytest.mark.parametrize("status", ["constant y", "not converged", "two x: law untested"])
def test_a_status_that_is_no_answer_gives_no_verdict(status: str) -> None:
    verdict = against_exponent(PlantedLaw(2.0, (1.9, 2.1), status), WIDTH)
    assert verdict.kind == "inconclusive"
    assert f"'{status}'" in verdict.sentence
    assert_pasteable(verdict)


def test_no_law_at_all_is_inconclusive() -> None:
    verdict = against_exponent(fit_power_law([], []), DRIFT)
    assert verdict.kind == "inconclusive"
    assert "no exponent of drift; inconclusive" in verdict.sentence
    assert_pasteable(verdict)


def test_hypotheses_missed_on_the_whole_range_make_it_vacuous() -> None:
    verdict = against_exponent(PlantedLaw(1.0, (0.8, 1.2)), WIDTH, shortfall=1e7)
    assert (verdict.kind, verdict.factor) == ("vacuous", 1e7)
    assert verdict.label == "vacuous here: hypotheses missed by a factor 1e+07"
    assert_pasteable(verdict)
    assert against_exponent(PlantedLaw(1.0, (0.8, 1.2)), WIDTH, shortfall=1.0).kind == "loose"


def test_a_floor_is_said_when_a_metric_should_vanish() -> None:
    law = PlantedLaw(-0.5, (-0.6, -0.4), over_range=(32.0, 4096.0), offset=0.01)
    verdict = against_exponent(law, DRIFT)
    assert verdict.label == "consistent above a floor that the claim does not have"
    assert "drift ~ m^-0.50 + 0.01" in verdict.sentence
    assert against_exponent(replace(law, offset=0.0), DRIFT).label == "consistent"


def test_both_kinds_of_law_are_accepted() -> None:
    m = 2.0 ** np.arange(4, 12)
    metric: Law = fit_power_law(m, 3 * m**-0.5 * np.exp(0.02 * np.random.default_rng(2).standard_normal(8)))
    assert against_exponent(metric, DRIFT).kind == "consistent"
    numbers = (2.0, (1.95, 2.05), (1.9, 2.1), 1.0)
    threshold: Law = ThresholdLaw(*numbers, "ok", (), (), 0.5, (16.0, 512.0), 1000, 0)
    assert against_exponent(threshold, WIDTH).kind == "consistent"
    for status in ANSWERS:
        assert against_exponent(replace(threshold, status=status), WIDTH).kind == "consistent"


def test_a_claim_without_exponent_is_refused() -> None:
    with pytest.raises(ValueError, match="no exponent"):
        against_exponent(PlantedLaw(1.0, (0.8, 1.2)), BOUND)


def test_a_finite_size_correction_rarely_contradicts_a_true_claim() -> None:
    """Truth n (1 + 20/n) from n = 4, 3 values of m* each, noise .1: at most 5% of sweeps; the plain slope does."""
    n = np.repeat(2.0 ** np.arange(2, 9), 3)
    both = [replace(WIDTH, exponent=1.0, direction=d) for d in ("sufficient", "necessary")]
    wrong = plain = 0
    for i in range(60):
        rng = np.random.default_rng((3, i))
        law = fit_power_law(n, (n + 20) * np.exp(0.1 * rng.standard_normal(n.size)))
        wrong += any(against_exponent(law, claim).kind in ("loose", "exceeds") for claim in both)
        naive = replace(law, envelope=law.alternatives[0].interval, status="ok")
        plain += all(against_exponent(naive, claim).kind in ("loose", "exceeds") for claim in both)
    assert stats.binom.sf(wrong - 1, 60, 0.05) > 1e-3  # binomial error of 60 sweeps around 5%
    assert plain > 50


# --- a bound, cell by cell ------------------------------------------------------------------------------------------

CELLS = [f"cell{i}" for i in range(6)]


def test_a_bound_that_holds_says_how_loose_it_is() -> None:
    verdict = against_bound(BOUND, [1.0, 2.0, 4.0], [10.0, 8.0, 8.0], CELLS[:3])
    assert (verdict.kind, verdict.factor, verdict.cells) == ("holds", 4.0, ())
    assert verdict.label == "bound holds, loose by a factor 4"
    assert (
        "3 cells judged, 0 above the bound; the bound holds, loose by a factor 4 (median; 2 at the" in verdict.sentence
    )
    assert_pasteable(verdict)
    assert against_bound(BOUND, [0.0, 0.0], [1.0, 0.0], CELLS[:2]).kind == "holds"  # nothing measured, nothing above


def test_a_violated_bound_names_its_cells() -> None:
    verdict = against_bound(BOUND, [1.0, 3.0, 4.0], [10.0, 2.0, 1.0], CELLS[:3])
    assert (verdict.kind, verdict.factor, verdict.cells) == ("violated", 4.0, ("cell1", "cell2"))
    assert "cell1, cell2, by a factor up to 4" in verdict.sentence
    assert_pasteable(verdict)
    many = against_bound(BOUND, np.full(6, 2.0), np.ones(6), CELLS)
    assert len(many.cells) == 6
    assert "and 1 more" in many.sentence


def test_rounding_is_no_violation() -> None:
    assert against_bound(BOUND, [1 + 1e-7], [1.0], CELLS[:1]).kind == "holds"
    assert against_bound(BOUND, [1 + 1e-5], [1.0], CELLS[:1]).kind == "violated"


def test_cells_outside_the_hypotheses_are_counted_not_judged() -> None:
    some = against_bound(BOUND, [1.0, 5.0], [2.0, 2.0], CELLS[:2], shortfall=[1.0, 30.0])
    assert some.kind == "holds"
    assert "1 outside its hypotheses" in some.sentence
    none = against_bound(BOUND, [1.0, 5.0], [2.0, 2.0], CELLS[:2], shortfall=[100.0, 30.0])
    assert (none.kind, none.factor) == ("vacuous", 30.0)
    assert none.label == "vacuous here: hypotheses missed by a factor 30"
    assert_pasteable(none)


def test_nan_cells_are_dropped_and_counted() -> None:
    verdict = against_bound(BOUND, [1.0, np.nan, 1.0], [2.0, 2.0, np.nan], CELLS[:3])
    assert "1 cells judged, 0 above the bound, 2 dropped as NaN" in verdict.sentence
    empty = against_bound(BOUND, [np.nan], [1.0], CELLS[:1])
    assert empty.kind == "inconclusive"
    assert against_bound(BOUND, [], [], []).kind == "inconclusive"


def test_a_claim_with_probability_may_fail_at_its_share_of_cells() -> None:
    measured = np.ones(200)
    measured[:15] = 3.0  # 7.5%; the one-sided 95% limit of 15 in 200 is .047
    cells = [str(i) for i in range(200)]
    limit = stats.beta.ppf(0.05, 15, 186)
    for allowed, kind in ((0.0, "violated"), (limit - 1e-3, "violated"), (limit + 1e-3, "holds"), (0.1, "holds")):
        assert against_bound(BOUND, measured, np.full(200, 2.0), cells, allowed=allowed).kind == kind


def test_shapes_of_a_bound_are_checked() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        against_bound(BOUND, [1.0, 2.0], [1.0], CELLS[:2])
    with pytest.raises(ValueError, match="shapes differ"):
        against_bound(BOUND, [1.0, 2.0], [1.0, 1.0], CELLS)


# --- a probability ---------------------------------------------------------------------------------------------------


def test_counts_against_stated_probabilities() -> None:
    p = np.array([0.1, 0.5, 0.9])
    assert against_probability(PROBABILITY, [12, 48, 91], [100] * 3, p, CELLS[:3]).kind == "consistent"
    verdict = against_probability(PROBABILITY, [12, 80, 91], [100] * 3, p, CELLS[:3])
    assert (verdict.kind, verdict.cells) == ("violated", ("cell1",))
    assert_pasteable(verdict)
    at_least = against_probability(PROBABILITY, [12, 80, 91], [100] * 3, p, CELLS[:3], at_least=True)
    assert at_least.kind == "consistent"
    assert against_probability(PROBABILITY, [0], [0], [0.5], CELLS[:1]).kind == "inconclusive"
    with pytest.raises(ValueError, match="row 0: 3 successes in 2"):
        against_probability(PROBABILITY, [3], [2], [0.5], CELLS[:1])


@pytest.mark.parametrize("at_least", [False, True])
def test_a_true_probability_is_called_violated_in_at_most_five_percent_of_sweeps(at_least: bool) -> None:
    p, rng = np.array([0.0, 0.02, 0.3, 0.5, 0.97, 1.0]), np.random.default_rng(4)
    runs = [
        against_probability(PROBABILITY, rng.binomial(50, p), np.full(6, 50), p, CELLS, at_least=at_least).kind
        for _ in range(400)
    ]
    assert stats.binom.sf(runs.count("violated") - 1, 400, 0.05) > 1e-3
