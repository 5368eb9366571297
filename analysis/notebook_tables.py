"""What a notebook shows of a law, a verdict, a study: small HTML, every text escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite, isnan

Row = Sequence[object]


def block(head: str, lines: Iterable[str] = (), *tables: str) -> str:
    """A bold first line, the others below it, then tables that are HTML already."""
    told = "".join(f"<br>{escape(line)}" for line in lines if line)
    return f"<div><b>{escape(head)}</b>{told}{''.join(tables)}</div>"


def table(head: Row, rows: Iterable[Row]) -> str:
    """A table of plain texts; "" without rows."""
    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>" if body else ""


def line(cells: Row, tag: str) -> str:
    start = f'<{tag} style="text-align:left">'  # notebooks put everything to the right
    return f"<tr>{''.join(f'{start}{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"


def number(value: float) -> str:
    """Three digits; a dash for what is not known."""
    return "–" if isnan(value) else f"{value:.3g}" if isfinite(value) else "∞" if value > 0 else "−∞"


def bracket(interval: tuple[float, float]) -> str:
    """[low, high]; open where a side is not bounded."""
    low, high = interval
    return f"[{number(low)}, {number(high)}]"
