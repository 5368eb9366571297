"""All sweeps in one process: one Ray, one MLflow store, and at the end one page over all results folders."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from analysis import report
from infra import driver, environment, options, tracking
from infra.driver import say
from infra.environment import EngineError
from infra.storage import ResultsError
from infra.sweep import Sweep

OUT, PAGE = "results/claims", "verdicts.html"
HELP = f"""python -m sweeps [--out DIR] [OPTION ...]

Every family of every sweep on its default grid, then DIR/{PAGE}: each claim with what was measured. DIR is {OUT} if not
given. What is recorded is not trained again. Options that every sweep knows go to each: --seeds, --address, --gpus,
--tracking-uri, --data-dir, --dry-run."""


def answer(sweeps: Sequence[Sweep], arguments: Sequence[str], again: str) -> int:
    """Run each family of each sweep with ``arguments``, of which ``--out`` is the folder of all results folders.

    Exit code: 0, or that of the first sweep that did not finish: ``again`` goes on from there.
    """
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return 0
    if options.asked(arguments, "family") is not None:
        say("--family: all of them are run; for one alone: python sweeps/NAME.py --family FAMILY")
        return 2
    out = (options.asked(arguments, "out") or OUT).rstrip("/")
    uri = options.tracking_uri(options.asked(arguments, "tracking-uri"), tracking.default_uri(out))
    common = ["--tracking-uri", uri, *without(arguments, "out", "tracking-uri")]
    asked = [(sweep, family, f"{out}/{sweep.name}-{family}") for sweep in sweeps for family in sweep.axes]
    start = time.monotonic()
    try:
        with one_ray(arguments):
            for i, (sweep, family, folder) in enumerate(asked):
                minutes = (time.monotonic() - start) / 60
                print(f"\n{i + 1} of {len(asked)} after {minutes:.1f} min: {sweep.name}, {family}", flush=True)
                if ended := driver.answer(sweep, ["--family", family, "--out", folder, *common]):
                    say(f"stopped at {i + 1} of {len(asked)}; go on with: {again}")
                    return ended
        if "--dry-run" not in arguments:
            print(f"\nverdicts   {report.write_board([folder for *_, folder in asked], f'{out}/{PAGE}')}")
    except (EngineError, ResultsError) as error:
        say(str(error))
        return 2
    return 0


@contextlib.contextmanager
def one_ray(arguments: Sequence[str]) -> Iterator[None]:
    """A Ray that all sweeps use; none where nothing is trained. EngineError when the address does not answer."""
    if "--dry-run" in arguments:
        yield
        return
    address = environment.prepare(options.asked(arguments, "address"))
    environment.reachable(address)
    from infra import engine  # imports Ray, which reads its environment then

    with engine.connected(address):
        yield


def without(arguments: Sequence[str], *names: str) -> list[str]:
    """The arguments without the options called ``names`` and their values."""
    kept, skip = [], False
    for argument in arguments:
        name, equals, _ = argument.removeprefix("--").partition("=")
        if skip or (argument.startswith("--") and name in names):
            skip = not skip and not equals
            continue
        kept.append(argument)
    return kept
