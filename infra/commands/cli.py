"""The command ``widthlaw``: what one does with results that are there. Sweeps are run as ``python sweeps/NAME.py``."""

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from infra.commands import about_laws, about_trainings  # noqa: F401  which make the commands
from infra.commands.app import app
from infra.store.storage import printable


def refusals() -> tuple[type[Exception], ...]:
    """Errors that one clear line tells."""
    from analysis.reading import DataError
    from infra.catalogue.mlflow_calls import TrackingError
    from infra.environment import EngineError
    from infra.planning.axes import PlanError
    from infra.store.storage import ResultsError

    return CycloptsError, DataError, EngineError, PlanError, ResultsError, TrackingError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where ``doctor`` finds something to mend, ``replay`` or ``audit`` a row that is not reproduced; 2
    after one clear line, 130 after Ctrl-C."""
    try:
        return app(argv, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except refusals() as error:  # evaluated where there is one
        print(f"widthlaw: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
