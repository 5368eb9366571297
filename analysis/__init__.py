"""Laws from recorded trainings, in Python: what one wants in a notebook.

    from analysis import law, plot, read, studies, tally, fit_threshold, verdicts

    found = law("results/demo")                    # m*(n) with interval, envelope, status; a table in a notebook
    plot(found)                                    # its figure
    verdicts("results/demo")                       # every claim of the paper beside what was measured
    frame = read("results/demo")                   # the rows, a pandas data frame
    fit_threshold(tally(m, n, success))            # anybody's outcomes

Names are imported when first asked for, so that a command that fits nothing does not wait for what fits.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.notebook import Plot, draw, law, plot, read, studies, verdicts
    from analysis.powerlaws.fitting import fit_power_law
    from analysis.powerlaws.law import PowerLaw
    from analysis.reading import DataError
    from analysis.thresholds.fitting import fit_threshold
    from analysis.thresholds.law import ThresholdLaw
    from analysis.thresholds.outcomes import Tally, tally, tally_counts
    from analysis.thresholds.plane import PlaneLaw, fit_plane

__all__ = [
    "DataError", "PlaneLaw", "Plot", "PowerLaw", "Tally", "ThresholdLaw", "draw", "fit_plane", "fit_power_law",
    "fit_threshold", "law", "plot", "read", "studies", "tally", "tally_counts", "verdicts",
]  # fmt: skip
HOMES = {
    "notebook": ("Plot", "draw", "law", "plot", "read", "studies", "verdicts"),
    "reading": ("DataError",),
    "powerlaws.fitting": ("fit_power_law",),
    "powerlaws.law": ("PowerLaw",),
    "thresholds.fitting": ("fit_threshold",),
    "thresholds.law": ("ThresholdLaw",),
    "thresholds.outcomes": ("Tally", "tally", "tally_counts"),
    "thresholds.plane": ("PlaneLaw", "fit_plane"),
}


def __getattr__(name: str) -> Any:
    """A public name, from the module that it lives in (PEP 562)."""
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"analysis.{home}"), name)
    raise AttributeError(f"module 'analysis' has no attribute '{name}'; public names: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
