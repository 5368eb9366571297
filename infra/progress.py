"""What the user sees while a sweep runs: trainings done, to go, time left, outcomes, the exponent so far."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from analysis.thresholds.fitting import fit_fast, tally_counts
from infra.packing.pack import ENDED
from infra.planning.packs import Pack
from infra.planning.plan import from_columns

REDRAW_SECONDS = 1.0  # on a terminal
LINE_SECONDS = 10.0  # elsewhere: one line a time

Value = float | str
Count = tuple[Value, Value, str]  # over, critical (or by), outcome letter


class Progress:
    """Counts outcomes from the packs' reports and draws them. Use as a context around the training."""

    def __init__(
        self,
        packs: Sequence[Pack],
        recorded: Counter[Count],
        plan: Mapping[str, Any],
        outlook: Callable[[], str] | None = None,
        *,
        quiet: bool = False,
    ):
        """``packs`` in the order of the numbers given to ``update``; ``recorded`` counts what earlier runs left; when
        ``quiet`` nothing is drawn.

        An adaptive sweep adds to its packs as it goes and tells its own ``outlook``.
        """
        self.plan, self.axes, self.outlook = plan, axes_of(plan), outlook
        self.packs, self.recorded = packs, recorded
        self.points: dict[int, list[tuple[Value, Value]]] = {}
        self.latest: dict[int, str] = {}
        self.began = self.drawn = time.monotonic()
        self.trains_since = math.inf  # since when the first pack trains: its worker starts before
        self.console, self.quiet = Console(stderr=True), quiet
        self.live: Live | None = None

    def __enter__(self) -> "Progress":
        if self.console.is_terminal and not self.quiet:
            self.live = Live(self.text(), console=self.console, refresh_per_second=4).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.update(self.text())
            self.live.__exit__(None, None, None)
        elif not self.quiet:
            self.console.print(self.text(), soft_wrap=True)

    def update(self, number: int, outcomes: str, seconds: float) -> None:
        """Pack ``number`` reports one outcome letter per cell, after ``seconds`` of training."""
        self.trains_since = min(self.trains_since, time.monotonic() - seconds)
        self.latest[number] = outcomes
        self.draw()

    def finished(self, number: int) -> bool:
        """Whether pack ``number`` has reported every outcome, which it does once its rows are written."""
        return "." not in self.latest.get(number, ".")

    def draw(self) -> None:
        now = time.monotonic()
        if self.quiet or now - self.drawn < (REDRAW_SECONDS if self.live else LINE_SECONDS):
            return
        self.drawn = now
        if self.live:
            self.live.update(self.text())
        else:
            self.console.print(self.text(), soft_wrap=True)

    def counts(self) -> Counter[Count]:
        """Everything recorded and reported."""
        counts = Counter(self.recorded)
        over, second = self.axes
        for number, letters in self.latest.items():
            if number not in self.points:
                pack = self.packs[number]
                cells = from_columns(pack.family, pack.columns, pack.size)
                self.points[number] = [(getattr(cell, over), getattr(cell, second)) for cell in cells]
            counts.update((*point, letter) for point, letter in zip(self.points[number], letters, strict=True))
        return counts

    def share_done(self) -> float:
        """Share of the work that is done, counting a training for what it may cost at most."""
        whole = sum(pack.seconds for pack in self.packs)
        done = sum(
            self.packs[i].seconds * (1 - letters.count(".") / len(letters)) for i, letters in self.latest.items()
        )
        return done / whole

    def text(self) -> Text:
        counts = self.counts()
        outcomes = Counter[str]()
        for (_, _, letter), count in counts.items():
            outcomes[letter] += count
        done = sum(len(letters) - letters.count(".") for letters in self.latest.values())
        elapsed = time.monotonic() - self.began
        line = (
            f"{self.far(done, elapsed)} | "
            f"fit {outcomes['f']}  unfit {outcomes['u']}  diverged {outcomes['d']}  "
            f"stalled {outcomes['s']}  failed {outcomes['x']}"
        )
        law = exponent(counts, self.plan) if self.plan["critical"] and not self.outlook else ""
        shown = [line, *rates(counts, self.axes[0]), law] if self.live else [line, law]
        return Text(("\n" if self.live else " | ").join(part for part in shown if part))

    def far(self, done: int, elapsed: float) -> str:
        """What is done and what is to come."""
        if self.outlook:
            return f"{done} trainings, {clock(elapsed)} gone, {self.outlook()}"
        share, to_train = self.share_done(), sum(pack.size for pack in self.packs)
        rest = (time.monotonic() - self.trains_since) / share * (1 - share) if share else math.inf
        left = f"about {clock(rest)} left" if share else "time left unknown"
        return f"{done}/{to_train} trainings, {to_train - done} to go, {clock(elapsed)} gone, {left}"


def axes_of(plan: Mapping[str, Any]) -> tuple[str, str]:
    """The two axes of the display: over, and the critical axis or the one compared by."""
    return plan["over"], plan["critical"] or plan.get("by") or plan["over"]


def rates(counts: Counter[Count], over: str) -> list[str]:
    """One line per value of ``over``: success rates in per cent over the second axis."""
    trained = Counter[tuple[Value, Value]]()
    for (value, second, letter), count in counts.items():
        if letter in ENDED:
            trained[value, second] += count
    lines = []
    for value in sorted({value for value, _ in trained}, key=sortable):
        seconds = sorted((second for n, second in trained if n == value), key=sortable)
        cells = [f"{short(m)}:{100 * counts[value, m, 'f'] // trained[value, m]}%" for m in seconds]
        lines.append(f"  {over} {short(value):>6} | {' '.join(cells)}")
    return lines


def sortable(value: Value) -> tuple[bool, Value]:
    """Numbers before names."""
    return isinstance(value, str), value


def short(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def exponent(counts: Counter[Count], plan: Mapping[str, Any]) -> str:
    """The law so far, in a few words."""
    critical, over = plan["critical"], plan["over"]
    points = sorted({(float(n), float(m)) for n, m, letter in counts if letter in ENDED})
    if not points:
        return "no law yet"
    fit = np.array([counts[n, m, "f"] for n, m in points])
    trials = np.array([sum(counts[n, m, letter] for letter in ENDED) for n, m in points])
    tallied = tally_counts([m for _, m in points], [n for n, _ in points], fit, trials)
    law = fit_fast(tallied.turned() if plan.get("falling") else tallied)
    if not np.isfinite(law.exponent):
        return f"no exponent yet ({law.status})"
    low, high = law.interval
    return f"{critical}* ~ {over}^{law.exponent:.2f} [{low:.2f}, {high:.2f}] so far ({law.status})"


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(line: str) -> None:
    """One line to the user, beside the results on standard output."""
    print(line, file=sys.stderr, flush=True)
