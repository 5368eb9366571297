"""All sweeps in one process: one Ray, one MLflow store, and at the end one page over all results folders."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from infra import conclusions, driver, environment, options
from infra.catalogue import tracking
from infra.environment import EngineError
from infra.planning.axes import PlanError
from infra.progress import say
from infra.store import storage
from infra.store.storage import ResultsError
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
    common = without(arguments, "out", "tracking-uri")
    given = options.asked(arguments, "tracking-uri")
    if given or not os.environ.get("MLFLOW_TRACKING_URI"):  # that may hold a password, and plans record the options
        common = ["--tracking-uri", given or tracking.default_uri(out), *common]
    folders = [storage.beside(out, f"{sweep.name}-{line[1]}") for sweep in sweeps for line in lines(sweep)]
    asked = [(sweep, line) for sweep in sweeps for line in lines(sweep)]
    asked = [(sweep, [*line, "--out", out, *common]) for (sweep, line), out in zip(asked, folders, strict=True)]
    ended = 0
    try:
        for sweep, line in asked:  # a wrong option is told before anything is trained
            options.parse(sweep, line)
        if "--dry-run" in arguments:
            return max(driver.answer(sweep, line) for sweep, line in announced(asked))
        with one_ray(arguments), conclusions.process() as other:
            for sweep, line in announced(asked):
                if ended := driver.answer(sweep, line, other.conclude) or other.answered(wait=False):
                    break
            if ended := other.answered(wait=True) or ended:
                say(f"stopped; go on with: {again}")
            else:
                print(f"\nverdicts   {other.board(list(dict.fromkeys(folders)), storage.beside(out, PAGE))}")
    except (EngineError, PlanError, ResultsError) as error:
        say(str(error))
        return 2
    return ended


def announced(asked: Sequence[tuple[Sweep, list[str]]]) -> Iterator[tuple[Sweep, list[str]]]:
    """What is asked, one after the other, each with a line that says how far it is."""
    start = time.monotonic()
    for i, (sweep, line) in enumerate(asked):
        minutes, name = (time.monotonic() - start) / 60, ", ".join([sweep.name, *line[1 : line.index("--out") : 2]])
        print(f"\n{i + 1} of {len(asked)} after {minutes:.1f} min: {name}", flush=True)
        yield sweep, line


def lines(sweep: Sweep) -> list[list[str]]:
    """What of a sweep is run, as options: every family's default grid, and the presets that it names for it."""
    presets = [(family, name) for name in sweep.also for family in sweep.presets[name]]
    return [["--family", family] for family in sweep.axes] + [
        ["--family", family, "--preset", name] for family, name in presets
    ]


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
