"""The documentation holds: generated pages are up to date, links lead somewhere, quoted numbers are those measured."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import pytest

import trainables
from infra.store import schema

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    or (path.relative_to(ROOT) for path in ROOT.rglob("*.md") if ".venv" not in path.parts)  # not a checkout
)


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build", DOCS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_what_the_families_and_the_schema_say(build):
    made = build.pages(json.loads(build.VERDICTS.read_text()))
    for name, text in made.items():
        assert (DOCS / name).read_text() == text, f"docs/{name} is out of date: python docs/build.py"
    assert {f"families/{path.name}" for path in (DOCS / "families").iterdir()} == {n for n in made if "/" in n}
    for name in trainables.names():
        module, page = trainables.load(name), made[f"families/{name}.md"]
        assert all(f"| `{column}` |" in page for column in (*module.COLUMNS, *module.Cell.__dataclass_fields__))
        assert page.count("\n### ") == len(module.CLAIMS)
        assert "\n## Differences from the paper\n" in page
    assert all(f"| `{told[0]}` |" in made["columns.md"] for told in (*schema.HEAD, *schema.OUTCOME, *schema.PROVENANCE))


def test_verdicts_come_from_laws_json_and_an_old_one_says_so(build, tmp_path):
    law = {"exponent": 1.03, "interval": [0.97, None], "envelope": [0.9, 1.2], "status": "ok", "over_range": [4, 64]}
    told = {
        "claim": "fewer features do not",
        "where": "d = 16",
        "kind": "consistent",
        "label": "consistent",
        "remark": "",
    }
    plan = {
        "sweep": "width_vs_n", "family": "random_features", "numerics": "0", "critical": "m", "over": "n",
        "data_sha256": "ab" * 32, "counts": {"asked for": 1240, "not recorded": 6},
        "groups": {"d = 16": {"law": law}},
        "claims": [told | {"sentence": "It is so (Me) [paper]. Measured: m* ~ n^1.03 | on n; it fits."}],
        "unanswered": [{"claim": "enough features interpolate", "why": "no rows"}],
    }  # fmt: skip
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "laws.json").write_text(json.dumps({"plans": [plan]}))
    found = build.gathered(tmp_path)
    page = build.pages(found)["families/random_features.md"]
    assert "1,234 trainings, rows sha256 abababababab; with numerics 0, now 2: not measured since" in page
    assert r"m\* \~ n^1.03 \[0.97, ∞\], envelope \[0.90, 1.20\] at d = 16, n in \[4, 64\]: ok" in page
    assert r"- `width_vs_n`, d = 16: **consistent**. m\* \~ n^1.03 \| on n; it fits." in page
    assert "- `width_vs_n`: no answer, no rows." in page and "Not measured yet" not in page
    assert "1 consistent" in build.pages(found)["families/README.md"]
    assert build.main([str(tmp_path / "nothing")]) == 2


def test_text_of_a_docstring_is_no_markup(build):
    assert build.plain("a*_j <b> [derived], ``x_y`` and `z_1`") == r"a\*\_j \<b\> \[derived\], `x_y` and `z_1`"
    assert [build.sentence(text) for text in ("eq. (1)", "m = n", "y_i w")] == ["Eq. (1)", "m = n", "y_i w"]
    assert build.markdown("    (1)  x\n      y") == "```text\n(1)  x\n  y\n```"


def prose(page):
    """A page without its code: what is there is no link."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page):
    """The anchors that GitHub gives a page's headings."""
    found = []
    for title in re.findall(r"^#+ +(.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title.strip().lower())
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return found


def broken(page):
    """The links of a page that lead nowhere; those into the web are not followed."""
    for target in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        where = (page.parent / path).resolve() if path else page
        found = where.exists() and where.is_relative_to(ROOT)
        if not found or (anchor and (where.suffix != ".md" or anchor not in anchors(where))):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert list(broken(page)) == []


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`: three\n[a](page.md#one-two-three) [b](#one) [c](gone.md) [d](../..) `[e](x)` [f](https://x)"
    )
    assert list(broken(page)) == ["#one", "gone.md", "../.."]


def rows(page):
    """The rows of a page's tables, as cells."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_coverage_quoted_is_coverage_measured():
    quoted = rows(DOCS / "trust.md")
    measured = {(row[0], row[1]): row for row in rows(ROOT / "benchmarks" / "thresholds.md")}
    laws = [row for row in quoted if len(row) == 5 and (row[0], row[1]) in measured]
    assert len(laws) > 6 and ["truth", "trainings", "fast", "interval", "envelope"] in quoted
    for row in laws:
        told = measured[row[0], row[1]]
        assert row[2:] == [told[2], told[5], told[9]] or row[0] == "truth"
    metrics = {row[0]: row for row in rows(ROOT / "benchmarks" / "powerlaws.md")}
    curves = [row for row in quoted if len(row) == 5 and row[0] in metrics]
    assert len(curves) > 4 and all(row[1:4] + row[4:] == [*metrics[row[0]][1:4], metrics[row[0]][8]] for row in curves)


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 155
