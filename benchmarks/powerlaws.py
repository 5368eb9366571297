"""How often the power-law intervals are right: python -m benchmarks.powerlaws [runs] writes powerlaws.md beside it."""

import time
from pathlib import Path

import numpy as np
from cyclopts import run
from cyclopts.types import PositiveInt

from tests.planted_curves import CASES, SEED, Planted, Tally, simulate

HEAD = """# Power laws: how often the interval covers the planted exponent

`python -m benchmarks.powerlaws {runs}` on one thread; {runs} simulations a case, simulation i from
`numpy.random.default_rng(({seed}, i))`. Unless the case says otherwise: 8 x from 16 to 2048, 3 seeds each, noise .1 on
log y (.05 where the law flattens and where seeds have their own slope); an outlier is 10 standard deviations off. The
exponent is e in y ~ x^e; for the broken laws the truth is the last slope, and the status is the answer.
Nominal coverage .95; the binomial standard error at {runs} simulations is {se:.3f}.

- *c = 0*, *chosen*, *envelope*: share of simulations whose interval covers the truth; *width*: medians of the last two
- *wrong*: verdicts `loose` or `exceeds` against a claim that states the true exponent (margin .25), read as an upper
  and as a lower bound; *with c = 0*: the same, had the verdict used the interval of the fit without offset
- *offset*: AICc chose a floor; *broken*, *not proved*: those statuses; *held out*: the largest x was predicted

"""
COLUMNS = "case,c = 0,chosen,envelope,bias,SD,width,env. width,wrong,with c = 0,offset,broken,not proved,held out,s/fit"


def row(case: Planted, count: Tally, seconds: float) -> str:
    """One line of the table."""
    n, e = count.runs, np.array(count.exponents)
    shares = [count.wrong, count.wrong_plain, count.offset, count.broken, count.not_converged, count.held_out]
    numbers = [k / n for k in (count.plain, count.interval, count.envelope)]
    numbers += [float(e.mean()) - case.exponent, float(e.std()), float(np.median(count.widths))]
    numbers += [float(np.median(count.envelopes)), *(k / n for k in shares), seconds / n]
    return f"| {case.name} | " + " | ".join(f"{u:.3f}" for u in numbers) + " |\n"


def main(runs: PositiveInt = 400) -> None:
    """Run every case and write the table beside this file."""
    text = HEAD.format(runs=runs, seed=SEED, se=(0.95 * 0.05 / runs) ** 0.5)
    names = COLUMNS.split(",")
    text += f"| {' | '.join(names)} |\n" + "|---" * len(names) + "|\n"
    began = time.perf_counter()
    for case in CASES:
        start = time.perf_counter()
        line = row(case, simulate(case, runs), time.perf_counter() - start)
        print(line, end="", flush=True)
        text += line
    text += f"\nRunning time {time.perf_counter() - began:.0f} s.\n"
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
