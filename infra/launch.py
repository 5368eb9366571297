"""The door to a sweep, or to all. Light on purpose: Ctrl-C is answered in one line even while torch and Ray are being
imported."""

import sys
from collections.abc import Sequence

from infra import interrupt
from infra.sweep import Sweep

__all__ = ["Sweep", "every", "main"]


def main(sweep: Sweep, argv: Sequence[str] | None = None) -> int:
    """Run a sweep from its command line. Exit code: 0; 2 after one clear line; 130 after Ctrl-C or SIGTERM."""
    again = " ".join(sys.argv if argv is None else argv)
    with interrupt.at_once(f"{sweep.name}: interrupted; nothing recorded is lost, go on with: python {again}"):
        from infra import driver

        return driver.answer(sweep, argv)


def every(sweeps: Sequence[Sweep], argv: Sequence[str] | None = None) -> int:
    """Run each family of each sweep, then write one page over all. Exit code: 0, or that of the first that failed."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    again = " ".join(["python -m sweeps", *arguments])
    with interrupt.at_once(f"interrupted; nothing recorded is lost, go on with: {again}"):
        from infra import all_sweeps

        return all_sweeps.answer(sweeps, arguments, again)
