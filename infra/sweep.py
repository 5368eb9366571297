"""What a file in ``sweeps/`` says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sweep:
    """A named set of cells with the claim it tests. ``axes`` gives each family its default grid, as option texts."""

    name: str
    claim: str
    critical: str
    over: str
    axes: dict[str, dict[str, str]]  # family -> axis -> text; the first family is the default
    seeds: int = 20
