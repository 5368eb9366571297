"""Laws and verdicts -> LaTeX tables (long ones over several pages), the hash of the rows in comment and caption."""

import math
import re
from collections.abc import Sequence

from analysis.board.held import Board, Held
from analysis.study import Group, Study
from analysis.thresholds.law import Interval, Threshold

LONGEST_FLOAT = 40  # lines
PACKAGES = r"\usepackage{array,booktabs,longtable}"
RAGGED = r">{\raggedright\arraybackslash}"  # narrow columns would have gaps between their words
SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"$\sim$", "^": r"\textasciicircum{}"}
SYMBOLS = {
    "−": "-", "≥": r"\ge", "≤": r"\le", "±": r"\pm", "×": r"\times", "‖": r"\|", "√": r"\surd", "∞": r"\infty",
    "→": r"\to", "λ": r"\lambda", "δ": r"\delta", "η": r"\eta", "Ω": r"\Omega", "Σ": r"\Sigma", "<": "<", ">": ">",
    "₀": "_0", "₂": "_2", "ᵣ": "_r", "ᵢ": "_i", "ᵏ": "^k", "ᵀ": "^T", "⁻": "^-", "¹": "^1", "²": "^2", "³": "^3",
    "⁴": "^4", "⁶": "^6",
}  # fmt: skip


def of(found: Study, held: Board) -> dict[str, str]:
    """All tables of a plan by name; "" for one without a line."""
    return {
        "thresholds": thresholds(found) if found.groups else "",
        "forms": forms(found),
        "laws": metric_laws(found, held.held),
        "verdicts": verdicts(found, held.held) if held.held else "",
    }


def files(found: Study, held: Board) -> dict[str, str]:
    """The tables with lines, by the names of their files."""
    return {f"tables/{found.stem}-{name}.tex": text for name, text in of(found, held).items() if text}


def forms(found: Study) -> str:
    """The forms of m*(n) that were compared, one block per group."""
    lines = []
    for group in found.groups:
        if group.law.forms:
            lines += [r"\midrule"] + ([rf"\multicolumn{{4}}{{l}}{{{escaped(group.title)}}} \\"] if group.title else [])
            lines += [
                f"{escaped(form.name)} & {escaped(f'{form.exponent:.2f}')} $\\pm$ {1.96 * form.error:.2g} & "
                f"{form.aicc:.1f} & {form.surprise:.1f} \\\\"
                for form in group.law.forms
            ]
    over = escaped(found.plan["over"])
    head = rf"form & exponent at the largest {over} & AICc above the best & surprise \\"
    told = "Forms of the law, 1.96 standard errors; surprise: error at the largest value held out, in standard errors."
    return table(found, "lrrr", head, lines, told, "forms") if lines else ""


def metric_laws(found: Study, held: Sequence[Held]) -> str:
    """The power law of every metric that a claim is about, at each value of the other axes."""
    lines = []
    for one in held:
        for part in one.parts:
            if math.isfinite(part.law.exponent):
                name = f"{one.claim.metric} over {one.claim.over}"
                bracket = f"[{part.law.interval[0]:.2f}, {part.law.interval[1]:.2f}]"
                around = f"[{part.law.envelope[0]:.2f}, {part.law.envelope[1]:.2f}]"
                cells = (name, part.title or "all", f"{part.law.exponent:.2f}", bracket, around, part.law.status)
                lines.append(" & ".join(escaped(cell) for cell in cells) + r" \\")
    head = r"metric & at & exponent & 95\% interval & envelope & status \\"
    told = "Power laws of the metrics, each at fixed other axes."
    return table(found, "llrlll", head, [r"\midrule", *lines], told, "laws") if lines else ""


def thresholds(found: Study) -> str:
    """m*(n) with 95% intervals, one block per group."""
    plan, lines = found.plan, []
    over, critical = plan["over"], plan["critical"]
    for group in found.groups:
        lines += [rf"\midrule \multicolumn{{4}}{{l}}{{{escaped(group.title)}}} \\"] if group.title else []
        lines.append(r"\midrule")
        lines += [
            f"{point.over:g} & {middle(point)} & {interval(point.interval)} & {point.trainings} \\\\"
            for point in group.law.points
        ]
        lines += [r"\midrule", rf"\multicolumn{{4}}{{l}}{{{law(group, over, critical)}}} \\"]
    head = rf"{escaped(over)} & {escaped(critical)}$^*$ & 95\% interval & trainings \\"
    criterion = plan["criterion"].replace("`", "")
    caption = f"Critical {critical} at which {plan['level']:.0%} of the trainings fit ({criterion})."
    return table(found, "rrlr", head, lines, caption, "thresholds")


def verdicts(found: Study, held: Sequence[Held]) -> str:
    """The verdict board: claim, source with tag, predicted, measured with envelope, verdict."""
    lines = [r"\midrule"]
    for one in held:
        claim = one.claim
        name = f"{claim.name} ({one.where})" if one.where else claim.name
        cells = (name, f"{claim.source} [{claim.tag}]", one.predicted, one.measured, one.label)
        lines.append(" & ".join(escaped(cell) for cell in cells) + r" \\")
        lines += (
            [rf"\multicolumn{{5}}{{{RAGGED}p{{0.85\linewidth}}}}{{\emph{{{escaped(one.remark)}.}}}} \\"]
            if one.remark
            else []
        )
    head = r"claim & source & predicted & measured & verdict \\"
    columns = "".join(rf"{RAGGED}p{{{share}\linewidth}}" for share in (0.15, 0.22, 0.15, 0.13, 0.14))
    told = "Claims held against the trainings; intervals are 95% envelopes."
    return table(found, columns, head, lines, told, "verdicts", long=True)


def table(
    found: Study, columns: str, head: str, lines: Sequence[str], caption: str, name: str, *, long: bool = False
) -> str:
    """A table with caption and label: one that floats, or, if ``long`` or of more lines than a page takes, one that
    goes over pages. Needs PACKAGES."""
    where = f"{len(found.rows):,} trainings, rows sha256 {found.sha256[:12]}"
    told = rf"\caption{{{escaped(f'{caption} {where}.')}}}"
    label = rf"\label{{tab:{found.stem}-{name}}}"
    floats = [
        r"\begin{table}",
        r"\centering\footnotesize",
        told,
        label,
        r"\smallskip",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
    ]
    again = [r"\endfirsthead", r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"]
    goes_on = [r"{\footnotesize", rf"\begin{{longtable}}{{{columns}}}", rf"{told}{label} \\", r"\toprule", head, *again]
    long = long or len(lines) > LONGEST_FLOAT
    return "\n".join(
        [
            f"% {found.plan['sweep']} {found.plan['family']}, plan {found.plan['plan_id']}",
            f"% rows sha256 {found.sha256}",
            f"% needs {PACKAGES}",
            *(goes_on if long else floats),
            *lines,
            *([r"\end{longtable}", "}"] if long else [r"\bottomrule", r"\end{tabular}", r"\end{table}"]),
            "",
        ]
    )


def law(group: Group, over: str, critical: str) -> str:
    """The fitted law in one line, or its status."""
    found = group.law
    if not math.isfinite(found.exponent):
        return escaped(f"no exponent: {found.status}")
    bracket = f"[{found.interval[0]:.2f}, {found.interval[1]:.2f}]"
    where = f"{over} in [{found.over_range[0]:.4g}, {found.over_range[1]:.4g}]"
    floor = f" - {found.offset:.3g}" if found.offset else ""
    return escaped(f"{critical}*{floor} ~ {over}^{found.exponent:.2f}, 95% {bracket}, {where} ({found.status})")


def middle(point: Threshold) -> str:
    """m*, or on which side of the values tried it lies."""
    return f"{point.critical:.3g}" if point.censored is None else f"({point.censored} all tried)"


def interval(ends: Interval) -> str:
    """[low, high] with the sign of infinity where an end is open."""
    low, high = (r"$\infty$" if math.isinf(end) else f"{end:.3g}" for end in ends)
    return f"[{low}, {high}]"


def escaped(text: str) -> str:
    """Plain text for LaTeX: special characters escaped, n^1.5 and the symbols of the claims as mathematics."""
    parts = re.split(r"(\w+\^(?:-?[\d.]*\d|k\b)|(?<![\w.])-?\d[\d.]*(?:e[+-]?\d+)?(?![\w.]))", text)
    return "".join(mathematics(part) if i % 2 else "".join(map(character, part)) for i, part in enumerate(parts))


def mathematics(text: str) -> str:
    """A power or a number."""
    base, _, exponent = text.partition("^")
    if exponent and len(base) == 1:
        return f"${base}^{{{exponent}}}$"
    if exponent:
        return f"{''.join(map(character, base))}$^{{{exponent}}}$"
    digits, _, tens = text.partition("e")
    times = rf"\times 10^{{{int(tens)}}}" if tens else ""
    return f"${digits}{times}$" if tens or text.startswith("-") else text


def character(c: str) -> str:
    """One character; what neither ASCII nor among the symbols of the claims is a question mark."""
    if c in SYMBOLS:
        return f"${SYMBOLS[c]}$"
    return SPECIAL.get(c, c if c.isascii() or c == "–" else "?")
