"""What a file in ``sweeps/`` says."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A named set of cells with the question it asks.

    over: the axis along which the answer is read. critical: the axis whose threshold over ``over`` is sought; None when
    the question is about shares of success or metrics. falling: success ends along the critical axis instead of
    beginning there, and its threshold is where half of the trainings still succeed. by: the axis whose values are
    compared, one curve each. metrics: columns drawn along ``over``. curves: columns drawn along the training. axes:
    each family's default grid, as option texts; the first family is the default. presets: named grids, ``--preset
    NAME``, in the same form. also: presets that are part of ``python -m sweeps``.
    """

    name: str
    claim: str
    over: str
    axes: dict[str, dict[str, str]]
    critical: str | None = None
    falling: bool = False
    by: str | None = None
    metrics: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    seeds: int = 20
    presets: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    also: tuple[str, ...] = ()
