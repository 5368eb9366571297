"""The tutorial, done as it is written, in a copy of this checkout: its blocks in order, with the outputs it shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.M | re.S)
LEFT = (".venv", ".git", "results", ".*_cache", "__pycache__", "*.egg-info", ".hypothesis")


@pytest.mark.cluster
def test_leads_from_nothing_to_a_law_and_leaves_no_trace(tmp_path):
    copy = tmp_path / "widthlaw"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": paths, "PYTHONPATH": str(copy)}
    said, kept = "", {}
    for kind, name, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text()):
        if name:
            (copy / name).write_text(text)
        elif kind == "text":
            assert all(line in said.splitlines() for line in text.splitlines()), (
                f"not what it says now:\n{text}\n{said}"
            )
        elif kind != "console":
            run = ["python", "-c", text] if kind == "python" else ["sh", "-ec", text]
            done = subprocess.run(run, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said = done.stdout
            kept |= {path.name: path.stat().st_size for path in copy.glob("results/*/*") if path.is_file()}
    assert all(kept.get(name) for name in ("law.pdf", "law.png", "law.json", "report.html"))
    ignored = (".pytest_cache", ".hypothesis", "__pycache__")
    after = {path for path in copy.rglob("*") if path.is_file() and not set(ignored) & set(path.parts)}
    assert {path: path.read_bytes() for path in after} == before
