"""The texts of a data set: whoever wrote the plan, the licence or the authors' names, they are text in each of them."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from analysis.pages.page import Section, provenance
from analysis.paper import tidy

SPDX = "https://spdx.org/licenses/"
DRAWN_WITH = (
    "widthlaw",
    "matplotlib",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
)  # decide the bytes of figures
SHOWN = 12  # values of an axis in the README
MAKEFILE = """\
# make          figures, tables, points and laws again, from data/*.parquet alone; needs widthlaw, see README.md
# make check    every file is as it was exported (SHA256SUMS)
PYTHON ?= python3
SHA256SUM := $(shell command -v sha256sum || echo shasum -a 256)
export OMP_NUM_THREADS := 1

.PHONY: all figures check
all figures:
	$(PYTHON) -m analysis.export .

check:
	@$(SHA256SUM) -c --quiet SHA256SUMS && echo every file is as it was exported
"""


@dataclass(frozen=True)
class Publication:
    """What is said of a data set as a whole. date: of the last training, ISO 8601, "" where it is not known."""

    title: str
    authors: tuple[str, ...]
    licence: str
    date: str

    @property
    def spdx(self) -> str:
        """The licence's SPDX identifier; "" where it is none."""
        try:
            found = str(canonicalize_license_expression(self.licence))
        except InvalidLicenseExpression:
            return ""
        return found if re.fullmatch(r"[\w.-]+\+?", found) and not found.startswith("LicenseRef") else ""

    @property
    def creators(self) -> str:
        return "; ".join(self.authors)

    @property
    def citation(self) -> str:
        """One line to cite the data by."""
        year = f" ({self.date[:4]})" if self.date else ""
        return f"{self.creators or 'Authors not given'}{year}. {self.title} [data set]. Licence: {self.licence}."


def clean(text: Any) -> str:
    """One line of what can be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def markdown(text: Any) -> str:
    """Plain text for Markdown, also inside a table or at the start of a line."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|$~]|(?<!\w)_|_(?!\w))", r"\\\1", text)
    return re.sub(r"^(\d*)([#+.)=-])(?=[#=-]*(?:\s|$))", r"\1\\\2", text)


def code(text: Any) -> str:
    """Text as code inside a line of Markdown, also inside a table."""
    text = clean(text).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def quoted(text: Any) -> str:
    """A string in YAML, double-quoted."""
    return json.dumps(clean(text), ensure_ascii=False)


def person(name: str) -> dict[str, str]:
    """ "Family, Given" is a person; a name without a comma, or with more of them, is taken as it stands."""
    family, comma, given = (part.strip() for part in name.partition(","))
    if comma and family and given and "," not in given:
        return {"family-names": family, "given-names": given}
    return {"name": name}


def citation(about: Publication, hashes: Mapping[str, str]) -> str:
    """CITATION.cff 1.2.0. hashes: of the rows of each sweep, by the name of its files."""
    lines = ["cff-version: 1.2.0", 'message: "If you use these data, please cite them as below."', "type: dataset"]
    lines += [f"title: {quoted(about.title)}", "authors:"]
    for name in about.authors or ("Authors not given",):
        for i, (key, value) in enumerate(person(name).items()):
            lines.append(f"  {' ' if i else '-'} {key}: {quoted(value)}")
    lines += [f"date-released: {quoted(about.date)}"] if about.date else []
    lines += [f"license: {quoted(about.spdx)}"] if about.spdx else []
    lines.append("identifiers:")
    for name, sha256 in hashes.items():
        lines += ["  - type: other", f"    value: {quoted(f'sha256:{sha256}')}"]
        lines.append(f"    description: {quoted(f'SHA-256 of the rows of {name}, provenance left out')}")
    return "\n".join([*lines, ""])


def licence(about: Publication) -> str:
    """The LICENSE file: which one, for what, and where its text is."""
    by = f"Copyright {clean(about.creators)}. " if about.authors else ""
    where = f"\nIts text: {SPDX}{about.spdx}.html\n" if about.spdx else ""
    return f"{clean(about.title)}\n\n{by}This data set is published under: {clean(about.licence)}\n{where}"


def readme(about: Publication, sections: Sequence[Section]) -> str:
    """README.md."""
    templates = Environment(
        loader=PackageLoader("analysis.paper", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    templates.filters |= {"md": markdown, "code": code, "clean": clean}
    first = sections[0].found
    varying = [name for name, values in first.plan["axes"].items() if len(values) > 1]
    wanted = dict.fromkeys([first.plan["over"], first.plan["critical"], *varying])
    names = [name for name in wanted if name and name in first.rows.column_names] or ["family"]
    curves = [name for name in tidy.lists(first.rows) if name != "curve_step"]
    told = {"about": about, "sections": sections, "versions": versions(), "axes": axes, "provenance": provenance}
    return templates.get_template("readme.jinja").render(told | {"names": names, "curves": curves})


def versions() -> str:
    """What decides the bytes of figures, as pip takes it."""
    found = {dist.name: dist.version for dist in map(installed, DRAWN_WITH) if dist}
    return " ".join(f"{name}=={found[name]}" for name in found)


def installed(name: str) -> Distribution | None:
    with contextlib.suppress(PackageNotFoundError):
        return distribution(name)
    return None


def axes(section: Section) -> list[tuple[str, str, str]]:
    """Name, values and meaning of the axes: those that vary first."""
    plan, found = section.found.plan, []
    for name, values in section.axes:
        asked = list(map(str, plan["axes"][name]))
        if len(asked) > SHOWN + 1 and values == ", ".join(asked):  # else it was chosen on the way, and says so
            values = f"{', '.join(asked[:SHOWN])}, ... {asked[-1]} ({len(asked)} values)"
        found.append((name, values, plan["meanings"].get(name, "")))
    return sorted(found, key=lambda line: len(plan["axes"][line[0]]) == 1)
