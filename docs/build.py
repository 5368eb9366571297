"""The pages that say what the code says: docs/families/ from the families, docs/columns.md from the schema of the rows.

    python docs/build.py                    # writes the pages anew
    python docs/build.py results/claims     # first puts the verdicts of `make claims` into docs/verdicts.json

No number on them is typed by hand. tests/test_docs.py fails when a page is not what this writes.
"""

import inspect
import json
import pkgutil
import re
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import sweeps
import trainables
from analysis import laws_file
from infra.families import head
from infra.store import schema

HERE = Path(__file__).parent
VERDICTS = HERE / "verdicts.json"
MADE = "<!-- Written by python docs/build.py: edit the family, not this page. -->"
DIFFERENCES = "Differences from the paper"
DIRECTIONS = {
    "sufficient": "what suffices", "necessary": "what is needed", "rate": "how a number scales",
    "inequality": "what holds in every training", "probability": "in what share of the trainings it holds",
    "order": "which of two is larger",
}  # fmt: skip
OF_LAW = ("exponent", "interval", "envelope", "status", "over_range")
Entry = dict[str, Any]


def main(arguments: list[str]) -> int:
    if arguments:
        found = gathered(Path(arguments[0]))
        if not found:
            print(f"{arguments[0]}: no laws.json in a folder there; write them with: make claims", file=sys.stderr)
            return 2
        VERDICTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    written = pages(json.loads(VERDICTS.read_text()))
    for name, text in written.items():
        (HERE / name).write_text(text)
    for path in (HERE / "families").glob("*.md"):
        if f"families/{path.name}" not in written:
            path.unlink()
    print(f"{len(written)} pages written to {HERE}")
    return 0


def gathered(results: Path) -> dict[str, list[Entry]]:
    """What the ``laws.json`` of every folder in ``results`` say, by family: laws, verdicts, what has no answer."""
    found: dict[str, list[Entry]] = {}
    for path in sorted(results.glob(f"*/{laws_file.NAME}")):
        for plan in json.loads(path.read_text())["plans"]:
            told = {name: plan[name] for name in ("sweep", "numerics", "critical", "over", "data_sha256")}
            told["trainings"] = plan["counts"]["asked for"] - plan["counts"]["not recorded"]
            told["laws"] = {at: {name: group["law"][name] for name in OF_LAW} for at, group in plan["groups"].items()}
            kept = ("claim", "where", "kind", "label", "remark")
            told["verdicts"] = [
                {name: one[name] for name in kept} | {"measured": one["sentence"].rpartition("]. Measured: ")[2]}
                for one in plan["claims"]
            ]
            told["unanswered"] = {one["claim"]: one["why"] for one in plan["unanswered"]}
            found.setdefault(plan["family"], []).append(told)
    return found


def pages(verdicts: dict[str, list[Entry]]) -> dict[str, str]:
    """Every page by its name in docs/."""
    asked = sweeps_by_family()
    made = {
        f"families/{name}.md": page(name, asked.get(name, []), verdicts.get(name, [])) for name in trainables.names()
    }
    return made | {"families/README.md": index(verdicts), "columns.md": columns()}


def sweeps_by_family() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for module in pkgutil.iter_modules(sweeps.__path__):
        if module.name != "__main__":
            for family in import_module(f"sweeps.{module.name}").SWEEP.axes:
                found.setdefault(family, []).append(module.name)
    return found


def page(name: str, asked: list[str], measured: list[Entry]) -> str:
    """One family: its docstring, where it differs from its paper, axes, numbers, claims with the latest verdicts."""
    module = trainables.load(name)
    text, apart = split(module)
    links = ", ".join(f"[{sweep}](../../sweeps/{sweep}.py)" for sweep in asked)
    parts = [
        f"# {name}", MADE, text,
        f"Source: [trainables/{name}.py](../../trainables/{name}.py). Sweeps: {links or 'none yet'}.",
        f"## {DIFFERENCES}", apart,
        "## A training fits", f"{plain(sentence(module.CRITERION))}.",
        "## Axes", "A knob is free to choose, no part of the problem: `--tune` may seek its best value.", axes(module),
        "## Numbers of a row",
        "Beside the [columns that every family has](../columns.md).", table(
            ("column", "meaning", "unit"),
            [(f"`{column}`", plain(meaning), plain(unit)) for column, (meaning, unit) in module.COLUMNS.items()],
        ),
        "## Claims and verdicts",
        "What the tags and kinds mean, and what a verdict can say: [How far can I trust this interval](../trust.md).",
        *origin(measured, module.VERSION), *(claim(told, measured) for told in module.CLAIMS),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def split(module: Any) -> tuple[str, str]:
    """The docstring as Markdown, and the paragraph on the differences from the paper taken out of it."""
    blocks = re.split(r"\n\s*\n", inspect.getdoc(module) or "")
    start = next((i for i, block in enumerate(blocks) if block.startswith(DIFFERENCES)), None)
    if start is None:
        raise ValueError(f"{module.__name__}: its docstring has no paragraph '{DIFFERENCES}'")
    apart = re.sub(rf"^{DIFFERENCES}: ", "", blocks.pop(start))
    return "\n\n".join(map(markdown, blocks)), markdown(sentence(apart))


def sentence(text: str) -> str:
    """With a capital first where that is a word; a formula stays as it is: m and M are not the same."""
    return text[:1].upper() + text[1:] if re.match(r"[a-z]{2,}\b(?!_)", text) else text


def markdown(block: str) -> str:
    """A paragraph of a docstring; equations and tables, which are indented, stay as they are."""
    lines = block.splitlines()
    if all(line.startswith("    ") for line in lines):
        return "```text\n" + inspect.cleandoc("\n" + block) + "\n```"
    return plain(block)


def plain(text: str) -> str:
    """Text for Markdown: its signs are no markup, but for `code`, in double backticks too."""
    parts = re.split(r"(`[^`]+`)", text.replace("``", "`"))
    return "".join(part if i % 2 else re.sub(r"([\\*_<>\[\]|~$#])", r"\\\1", part) for i, part in enumerate(parts))


def table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |" for line in lines)


def axes(module: Any) -> str:
    rows = []
    for field in fields(module.Cell):
        told = field.metadata
        choices = ", ".join(f"`{value}`" for value in get_args(field.type)) if get_origin(field.type) is Literal else ""
        default = "" if field.default is MISSING else f"`{field.default}`"
        meaning = plain(told["meaning"]) + (f": {choices}" if choices else "")
        rows.append((f"`{field.name}`", meaning, plain(told["unit"]), default, "knob" if told["knob"] else ""))
    return table(("axis", "meaning", "unit", "default", ""), rows)


def origin(measured: list[Entry], version: str) -> list[str]:
    """Where the verdicts come from, and the laws that they rest on."""
    if not measured:
        return ["Not measured yet: `make claims`, then `python docs/build.py results/claims`."]
    lines = []
    for one in measured:
        old = (
            f"; with numerics {one['numerics']}, now {version}: not measured since"
            if one["numerics"] != version
            else ""
        )
        lines.append(f"- `{one['sweep']}`: {one['trainings']:,} trainings, rows sha256 {one['data_sha256'][:12]}{old}")
        lines += [f"  - {law_in_words(at, law, one)}" for at, law in one["laws"].items()]
    return ["\n".join(lines)]


def law_in_words(at: str, law: Entry, one: Entry) -> str:
    """A law m*(n) as laws.json has it; null there means not known, or not bounded on that side."""
    where = "" if at == "all" else f" at {plain(at)}"
    if law["exponent"] is None:
        return f"no exponent of {one['critical']}\\*({one['over']}){where}: {plain(law['status'])}"
    ends = ", envelope ".join(bracket(law[name]) for name in ("interval", "envelope"))
    said = f"{one['critical']}\\* \\~ {one['over']}^{law['exponent']:.2f} {ends}{where}"
    return f"{said}, {one['over']} in {bracket(law['over_range'], '.4g')}: {plain(law['status'])}"


def bracket(ends: list[float | None], form: str = ".2f") -> str:
    low, high = ("∞" if end is None else format(end, form) for end in ends)
    return f"\\[{'−∞' if low == '∞' else low}, {high}\\]"


def claim(told: Any, measured: list[Entry]) -> str:
    """A claim as its family states it, and every sweep's verdict on it."""
    source = ", ".join(
        filter(None, [told["source"][0], told["source"][1] and f"arXiv {told['source'][1]}", told["source"][2]])
    )
    lines = [
        f"{plain(told['statement'])}.",
        f"{plain(source)}. Tag: {told['tag']}. It says {DIRECTIONS[told['direction']]}.",
    ]
    if where := told.get("where"):
        lines.append(f"Speaks at {', '.join(f'`{name}` = `{value}`' for name, value in where.items())}.")
    if given := told.get("hypotheses"):
        lines.append(f"Hypotheses: {plain('; '.join(given))}.")
    answers = [
        answer(one["sweep"], found) for one in measured for found in one["verdicts"] if found["claim"] == told["name"]
    ]
    silent = [f"- `{one['sweep']}`: no answer, {plain(one['unanswered'][told['name']])}." for one in measured
              if told["name"] in one["unanswered"]]  # fmt: skip
    shown = answers or silent or ["- not measured"]
    return "\n\n".join([f"### {plain(told['name'])}", "\n".join(lines), "\n".join(shown)])


def answer(sweep: str, found: Entry) -> str:
    where = f", {plain(found['where'])}" if found["where"] else ""
    remark = f" {plain(sentence(found['remark']))}." if found["remark"] else ""
    return f"- `{sweep}`{where}: **{plain(found['label'])}**. {plain(found['measured'])}{remark}"


def index(verdicts: dict[str, list[Entry]]) -> str:
    """All families in a table."""
    rows = []
    for name in trainables.names():
        module = trainables.load(name)
        title, paper = head(module)
        kinds = [found["kind"] for one in verdicts.get(name, []) for found in one["verdicts"]]
        told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "not measured"
        rows.append((f"[{name}]({name}.md)", plain(title), plain(paper), str(len(module.CLAIMS)), told))
    return "\n\n".join(["# Families", MADE, table(("family", "what", "paper", "claims", "verdicts"), rows)]) + "\n"


def columns() -> str:
    """The columns that the rows of every family have."""
    told = [(f"`{name}`", plain(meaning), unit) for name, _, meaning, unit in
            (*schema.HEAD, *schema.OUTCOME, *schema.PROVENANCE)]  # fmt: skip
    along = [
        ("`curve_step`", "steps at which the curves were taken, 9% apart", "steps"),
        ("`curve_NAME`", "what a family observes, along the training", "that of `NAME`"),
    ]
    return "\n\n".join([
        "# Columns of every row", MADE,
        "A row is one training. Beside its [family's](families/README.md) axes and numbers it has these; the Parquet "
        "files carry meaning and unit in their metadata. In Python: `from analysis import read`.",
        table(("column", "meaning", "unit"), told + along),
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
