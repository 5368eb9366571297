"""Simulated curves y(x) with a known exponent, and how often the fit is right: for the tests and the benchmark.

Noise is Gaussian on log y with standard deviation `noise`; an outlier is 10 standard deviations off, up or down.
Simulation i of any case draws from numpy's default generator seeded with (SEED, i).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.claims.theory import Claim, Source
from analysis.claims.verdict import against_exponent
from analysis.powerlaws.fitting import fit_power_law
from analysis.powerlaws.law import PowerLaw
from analysis.powerlaws.logfits import Fit

SEED = 20180205
Array = NDArray[np.float64]
X = 2.0 ** np.arange(4, 12)  # the x of a planted curve


def fit_of(law: PowerLaw, form: str) -> Fit:
    """The fit of one form among those that the law was chosen from."""
    return next(fit for fit in law.alternatives if fit.form == form)


@dataclass(frozen=True)
class Planted:
    """y = curve(x) at `points` x from 16 to 2048, evenly spaced in log x, `repeats` seeds each.

    shared: sd of a factor common to all seeds at one x. slopes: sd of a seed's own exponent, the seed used at every x.
    """

    name: str
    exponent: float
    curve: Callable[[Array], Array]
    points: int = 8
    repeats: int = 3
    noise: float = 0.1
    outliers: float = 0.0
    robust: bool = False
    shared: float = 0.0
    slopes: float = 0.0
    clustered: bool = False


@dataclass
class Tally:
    """Counts over `runs` simulations; `wrong` counts verdicts against a claim that states the true exponent."""

    runs: int
    plain: int = 0  # the interval of the fit with c = 0 covers the truth
    interval: int = 0  # ... of the chosen form
    envelope: int = 0
    wrong: int = 0
    wrong_plain: int = 0  # the same verdicts, had they used the c = 0 interval
    offset: int = 0  # AICc chose an offset
    broken: int = 0
    not_converged: int = 0
    held_out: int = 0  # the largest x was predicted
    exponents: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    envelopes: list[float] = field(default_factory=list)


def draw(case: Planted, i: int) -> tuple[Array, Array, NDArray[np.int_]]:
    """(x, y, seed label), each of shape (points * repeats,)."""
    rng = np.random.default_rng((SEED, i))
    x = np.repeat(2.0 ** np.linspace(4, 11, case.points), case.repeats)
    seed = np.tile(np.arange(case.repeats), case.points)
    log_noise = case.noise * rng.standard_normal(x.size)
    if case.outliers:
        sign = rng.choice([-10.0, 10.0], x.size)
        log_noise = np.where(rng.random(x.size) < case.outliers, log_noise + sign * case.noise, log_noise)
    log_noise += np.repeat(case.shared * rng.standard_normal(case.points), case.repeats)
    log_noise += (case.slopes * rng.standard_normal(case.repeats))[seed] * np.log(x / 181.0)
    return x, case.curve(x) * np.exp(log_noise), seed


def simulate(case: Planted, runs: int) -> Tally:
    """Fit `runs` draws of the case and count."""
    count = Tally(runs)
    claims = [
        Claim("truth", "planted", "y ~ x^e", Source("planted", "", ""), "derived", d, "x", "m", None, case.exponent)
        for d in ("sufficient", "necessary")
    ]
    for i in range(runs):
        x, y, seed = draw(case, i)
        law = fit_power_law(x, y, robust=case.robust, cluster=seed if case.clustered else None)
        plain = replace(law, envelope=law.alternatives[0].interval, status="ok")
        count.plain += covers(plain.envelope, case.exponent)
        count.interval += covers(law.interval, case.exponent)
        count.envelope += covers(law.envelope, case.exponent)
        count.wrong += any(_against(law, claim) for claim in claims)
        count.wrong_plain += any(_against(plain, claim) for claim in claims)
        count.offset += law.chosen == "offset"
        count.broken += law.status == "broken"
        count.not_converged += law.status == "not converged"
        count.held_out += law.holdout is not None and law.holdout.inside
        count.exponents.append(law.exponent)
        count.widths.append(law.interval[1] - law.interval[0])
        count.envelopes.append(law.envelope[1] - law.envelope[0])
    return count


def covers(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def _against(law: PowerLaw, claim: Claim) -> bool:
    return against_exponent(law, claim).kind in ("loose", "exceeds")


def two_slopes(x: Array, before: float, after: float) -> Array:
    """Continuous, breaking at x = 181 (the middle of the range)."""
    return np.where(x < 181, (x / 181) ** before, (x / 181) ** after)


HALF = Planted("a x^-.5", -0.5, lambda x: 3 * x**-0.5)
ONE = Planted("a x^-1", -1.0, lambda x: 3 / x)
HALF_FLOOR = Planted("a x^-.5 + c", -0.5, lambda x: 3 * x**-0.5 + 0.1)
ONE_FLOOR = Planted("a x^-1 + c", -1.0, lambda x: 3 / x + 0.01)
GROWS = Planted("a x (1 + 20/x)", 1.0, lambda x: x + 20)
GROWS_HALF = Planted("a x^.5 (1 + 20/x)", 0.5, lambda x: x**0.5 * (1 + 20 / x))
LAGS = Planted("a x (1 - 8/x)", 1.0, lambda x: x - 8)
FLATTENS = Planted("x^-1, from 181 on x^-.25", -0.25, lambda x: two_slopes(x, -1.0, -0.25), noise=0.05)
STEEPENS = Planted("x^-.25, from 181 on x^-1", -1.0, lambda x: two_slopes(x, -0.25, -1.0))

CASES = (
    HALF,
    ONE,
    HALF_FLOOR,
    ONE_FLOOR,
    replace(HALF_FLOOR, name="a x^-.5 + c, 20 seeds", repeats=20),
    replace(ONE_FLOOR, name="a x^-1 + c, c small", curve=lambda x: 3 / x + 0.0005),
    GROWS,
    GROWS_HALF,
    LAGS,
    replace(HALF, name="a x^-.5, 5% outliers", repeats=10, outliers=0.05),
    replace(HALF, name="the same, Huber", repeats=10, outliers=0.05, robust=True),
    replace(HALF_FLOOR, name="a x^-.5 + c, 5% outliers", repeats=10, outliers=0.05),
    replace(HALF_FLOOR, name="the same, Huber", repeats=10, outliers=0.05, robust=True),
    replace(HALF, name="a x^-.5, one seed", repeats=1),
    replace(HALF_FLOOR, name="a x^-.5 + c, one seed", repeats=1),
    replace(HALF, name="a x^-.5, 5 x, one seed", points=5, repeats=1),
    replace(HALF_FLOOR, name="a x^-.5 + c, 5 x, one seed", points=5, repeats=1),
    replace(HALF, name="a x^-.5, shared factor .1 per x, 20 seeds", repeats=20, shared=0.1),
    replace(HALF, name="a x^-.5, 10 seeds with their own slope", repeats=10, noise=0.05, slopes=0.1),
    replace(HALF, name="the same, cluster = seed", repeats=10, noise=0.05, slopes=0.1, clustered=True),
    FLATTENS,
    STEEPENS,
)


def assert_at_least(hits: int, runs: int, share: float) -> None:
    """`hits` is compatible with a true share of at least `share`: a correct program fails here once in 1000 changes."""
    assert stats.binom.cdf(hits, runs, share) > 1e-3, f"{hits} of {runs}, required {share}"


def log_cost(x: np.ndarray, y: np.ndarray, exponent: float, ratio: np.ndarray) -> np.ndarray:
    """Least squares of log y on log(a x^e + c) at c/a = ratio, minimised over a in closed form."""
    r = np.log(y)[:, None] - np.log(x[:, None] ** exponent + ratio[None, :])
    cost: np.ndarray = ((r - r.mean(axis=0)) ** 2).sum(axis=0)
    return cost
