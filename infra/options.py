"""The command line of a sweep: options parsed from typed dataclasses, one option per axis of the family."""

import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, get_type_hints

from cyclopts import App, CycloptsError, Parameter, RepeatArgumentError, UnusedCliTokensError

import trainables
from infra.planning.axes import PlanError, number, parse_axis
from infra.store.storage import secret
from infra.sweep import Sweep

TEXTS = {"seeds": int, "trainings": int, "target_se": float}  # options that may be left out, and what they hold
TARGET = 0.02  # standard error of the exponent
LIMITS = ("target_se", "trainings", "minutes", "flops")  # of an adaptive search
SEEKING = ("adaptive", *LIMITS, "level", "to_the_end")  # options that say nothing where no threshold is sought


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    family: Annotated[str, Parameter(help="Model family: a module of trainables/.")] = ""
    seeds: Annotated[int, Parameter(help="Trainings per grid point; seeds are 0, 1, ... [trainings]")] = 20
    out: Annotated[str, Parameter(help="Results folder: a path, or a URI such as s3://bucket/du.")] = ""
    level: Annotated[float, Parameter(help="Success probability that defines m*(n).")] = 0.5
    dry_run: Annotated[bool, Parameter(help="Print what would be trained and what it would cost.", negative="")] = False
    address: Annotated[str | None, Parameter(help="Ray cluster, 'auto' or host:port; RAY_ADDRESS also counts.")] = None
    tracking_uri: Annotated[str | None, Parameter(help="MLflow; default MLFLOW_TRACKING_URI, else OUT/mlflow.db.")] = (
        None
    )
    preset: Annotated[str | None, Parameter(help="A named grid of the sweep in place of its default one.")] = None
    data_dir: Annotated[str | None, Parameter(help="Folder of data files, for families that read any.")] = None
    adaptive: Annotated[
        bool,
        Parameter(help="Choose the next trainings by what is known; the critical axis is a first range.", negative=""),
    ] = False
    target_se: Annotated[float, Parameter(help="--adaptive ends at this standard error of the exponent.")] = TARGET
    trainings: Annotated[int | None, Parameter(help="--adaptive ends after so many trainings. [trainings]")] = None
    minutes: Annotated[float | None, Parameter(help="--adaptive ends after so long. [min]")] = None
    flops: Annotated[float | None, Parameter(help="--adaptive ends after so much work. [FLOP]")] = None
    tune: Annotated[
        str | None,
        Parameter(help="First find this knob's best value at each grid point, between the ends given for its axis."),
    ] = None
    to_the_end: Annotated[
        bool,
        Parameter(
            help="Stop no training, also where a threshold is sought and its loss would end too high.", negative=""
        ),
    ] = False
    quiet: Annotated[bool, Parameter(help="Show no progress; what goes wrong is told all the same.", negative="")] = (
        False
    )
    json: Annotated[bool, Parameter(help="Print the law as one JSON object, as in laws.json.", negative="")] = False
    gpus: Annotated[float | None, Parameter(help="GPUs per pack, may be a fraction; default 0.5 on GPU nodes.")] = None


@dataclass(frozen=True)
class Request:
    """One invocation: what to train (every axis of the family), where, and the command that says it again."""

    sweep: Sweep
    family: str
    axes: dict[str, list[Any]]
    options: Options
    command: str = field(compare=False)


def parse(sweep: Sweep, argv: Sequence[str] | None = None) -> Request | None:
    """The request in ``argv`` (default: the process's arguments). None when only help was asked for.

    PlanError with one line for an unknown family or option and for text that is not an axis.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    family = asked(arguments, "family")
    family = next(iter(sweep.axes)) if family is None else family
    try:
        module = trainables.load(family)
    except ValueError as error:
        raise PlanError(f"--family: {' '.join(str(error).split())}") from None
    fields = [axis for axis in dataclasses.fields(module.Cell) if axis.name != "seed"]
    preset = preset_of(sweep, family, asked(arguments, "preset"))
    app = App(name=f"python sweeps/{sweep.name}.py", help=help_text(sweep, family), version_flags=[])
    app.default(command_for(sweep, family, fields, preset))
    try:
        options = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except UnusedCliTokensError as error:
        stray = " ".join(error.unused_tokens or [])
        raise PlanError(f"'{stray}' belongs to no option; write a list with commas: --n 16,32,64") from None
    except RepeatArgumentError as error:
        name = error.token.keyword if error.token else "an axis"
        raise PlanError(
            f"{name} is given twice; give it once, an axis with commas between its values: --m 4,6,8"
        ) from None
    except CycloptsError as error:
        known = ", ".join("--" + axis.name for axis in fields)
        raise PlanError(f"{' '.join(str(error).split())} Axes of {family}: {known}; all options: --help") from None
    if options is None:
        return None
    plain = common(sweep, options)
    axes = {axis.name: values_of(axis, getattr(options, axis.name), preset.get(axis.name), family) for axis in fields}
    if plain.tune is not None:
        axes[plain.tune] = tuning_range(sweep, plain.tune, plain.adaptive, axes, fields)
    if plain.adaptive:
        check_search(sweep, family, axes)
        if getattr(options, "budget", None) is not None:
            meaning = next(axis.metadata["meaning"] for axis in fields if axis.name == "budget")
            limits = "a limit is --trainings, --minutes or --flops"
            print(f"{sweep.name}: --budget is the axis '{meaning}'; {limits}", file=sys.stderr)
    return Request(sweep, family, axes, plain, shlex.join(["python", f"sweeps/{sweep.name}.py", *arguments]))


def asked(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option that must be known before the others can be described: --family, --preset."""
    for i, argument in enumerate(arguments):
        if argument == f"--{name}" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
    return None


def preset_of(sweep: Sweep, family: str, name: str | None) -> dict[str, str]:
    """The default grid of a family, or the one called ``name`` laid over it."""
    default = sweep.axes.get(family, {})
    if name is None:
        return default
    if name not in sweep.presets or family not in sweep.presets[name]:
        known = [preset for preset, grids in sweep.presets.items() if family in grids]
        raise PlanError(
            f"--preset: {sweep.name} has no preset '{name}' for {family}; known: {', '.join(known) or 'none'}"
        )
    return default | sweep.presets[name][family]


def common(sweep: Sweep, options: Any) -> Options:
    """The common options of what was parsed, with defaults where nothing was given. PlanError, see ``check``."""
    given = {option.name: getattr(options, option.name) for option in dataclasses.fields(Options)}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {name: number(dashed(name), given[name], kind) for name, kind in TEXTS.items() if name in given}
    check(sweep, given)
    return Options(**{"seeds": sweep.seeds} | given)


def check(sweep: Sweep, given: Mapping[str, Any]) -> None:
    """PlanError for a value that its type allows and its meaning does not, and for options that say nothing together.
    ``given``: common options by name, those left out having no default but None."""
    if not 0 < given["level"] < 1:
        raise PlanError(f"--level: {given['level']:g} is not a probability between 0 and 1")
    if not 0 <= given.get("gpus", 0) < math.inf:
        raise PlanError(f"--gpus: {given['gpus']:g} is not a number of GPUs; write for instance 1, 0.5 or 0")
    for name in LIMITS:
        option = f"--{dashed(name)}"
        if name in given and not given["adaptive"]:
            raise PlanError(f"{option} ends a search by --adaptive; write --adaptive too, or leave {option} out")
        if not 0 < given.get(name, 1) < math.inf:
            raise PlanError(f"{option}: {given[name]:g} must be above 0 and finite")
    if given["adaptive"] and not sweep.critical:
        raise PlanError(f"--adaptive: {sweep.name} seeks no threshold; leave it out")
    if given["adaptive"] and "seeds" in given:
        raise PlanError("--seeds: --adaptive chooses the seeds of a grid point; for a limit write --trainings 500")
    tracking_uri(given.get("tracking_uri"), "")
    if not given["out"].strip():
        raise PlanError("--out: empty; write a path, or a URI such as s3://bucket/du")


def dashed(name: str) -> str:
    return name.replace("_", "-")


def check_search(sweep: Sweep, family: str, axes: Mapping[str, Sequence[Any]]) -> None:
    """PlanError where an adaptive search, which goes by logarithms, misses an axis or is given a 0."""
    for name in filter(None, (sweep.critical, sweep.over)):
        if name not in axes:
            raise PlanError(f"--adaptive: seeks {sweep.critical} over {sweep.over}, and {family} has no {name}")
        if min(axes[name]) <= 0:
            raise PlanError(f"--{name}: --adaptive takes its logarithm; write values above 0, not {min(axes[name]):g}")


def tuning_range(
    sweep: Sweep, name: str, adaptive: bool, axes: dict[str, list[Any]], fields: Sequence[Any]
) -> list[float]:
    """The ends between which --tune seeks; where one value is given, a factor of 16 to both sides of it."""
    knobs = [axis.name for axis in fields if axis.metadata.get("knob", False)]
    known = [knob for knob in knobs if knob not in (sweep.over, sweep.critical)]
    if name not in known:
        which = ", ".join(known) or "none"
        raise PlanError(f"--tune: '{name}' is no knob of the training that can be tuned here; known: {which}")
    if adaptive:
        raise PlanError("--tune needs a grid of widths, which --adaptive has not; leave one of them out")
    low, high = min(axes[name]), max(axes[name])
    if low <= 0:
        raise PlanError(f"--tune {name}: the range starts at {low:g}; write ends above 0, for instance --{name} 0.1,10")
    return [low, high] if low < high else [low / 16, low * 16]


def values_of(axis: Any, text: str | None, preset: str | None, family: str) -> list[Any]:
    """The values of one axis: those in ``text``, else the sweep's, else the family's default."""
    text = preset if text is None else text
    if text is not None:
        return parse_axis(axis.name, text, axis.type, positive=axis.metadata.get("positive", False))
    if axis.default is dataclasses.MISSING:
        raise PlanError(f"--{axis.name}: {family} has no default for it; write for instance --{axis.name} 16,32,64")
    return [axis.default]


def command_for(sweep: Sweep, family: str, fields: Sequence[Any], preset: dict[str, str]) -> Any:
    """A function whose one parameter is a dataclass: the common options and one text option per axis.

    ``TEXTS`` are text here, to be read like the numbers of an axis, and None where they are not given.
    """
    kinds = get_type_hints(Options)
    told = {name: hint.__metadata__ for name, hint in get_type_hints(Options, include_extras=True).items()}
    presets = {"family": family, "out": f"results/{sweep.name}-{family}"}
    axes: list[tuple[str, Any, Any]] = [
        (name, Annotated[str, *told[name]], dataclasses.field(default=default)) for name, default in presets.items()
    ]
    usual = {"seeds": str(sweep.seeds), "target_se": f"{TARGET:g}"}
    hidden = () if sweep.critical else SEEKING
    for name in TEXTS:
        hint: Any = Annotated[str | None, *told[name], Parameter(show_default=usual.get(name), show=name not in hidden)]
        axes.append((name, hint, dataclasses.field(default=None)))
    for option in dataclasses.fields(Options):
        if option.name in hidden and option.name not in TEXTS:
            hint = Annotated[kinds[option.name], *told[option.name], Parameter(show=False)]
            axes.append((option.name, hint, dataclasses.field(default=option.default)))
    for axis in fields:
        default = preset.get(axis.name, "")
        shown = default or ("" if axis.default is dataclasses.MISSING else str(axis.default))
        unit = axis.metadata["unit"]
        text = f"{axis.metadata['meaning']}{'' if unit == '1' else f' [{unit}]'} (default: {shown or 'none'})"
        names = dict.fromkeys([f"--{axis.name}", f"--{dashed(axis.name)}"])
        parameter = Parameter(name=list(names), help=text, group="Axes", show_default=False)
        axes.append((axis.name, Annotated[str | None, parameter], dataclasses.field(default=None)))
    here = {"__module__": __name__}  # else cyclopts takes the class for a built-in
    made = dataclasses.make_dataclass("Arguments", axes, bases=(Options,), kw_only=True, frozen=True, namespace=here)

    def command(arguments: Any = made()) -> Any:  # noqa: B008  frozen
        return arguments

    command.__annotations__["arguments"] = Annotated[made, Parameter(name="*")]
    return command


def help_text(sweep: Sweep, family: str) -> str:
    return (
        f"{sweep.claim}\n\nAn axis is a list 16,32,64 or a range LO:HI:STEP with STEP octave, half-octave, "
        "third-octave, quarter-octave, eighth-octave, decade, half-decade or +S. "
        f"Axes below are those of family {family}; --family NAME --help shows another's "
        f"({', '.join(trainables.names())})." + (f" Presets: {', '.join(sweep.presets)}." if sweep.presets else "")
    )


def tracking_uri(given: str | None, fallback: str) -> str:
    """Where MLflow is: as given, else MLFLOW_TRACKING_URI, else ``fallback``. PlanError for a password on the command
    line, which everybody on the machine can read, and which a plan would record."""
    if given and secret(given):
        raise PlanError(
            "--tracking-uri: it carries a password; give the address without it and set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or leave the option out and set MLFLOW_TRACKING_URI"
        )
    return given or os.environ.get("MLFLOW_TRACKING_URI") or fallback
