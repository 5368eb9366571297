"""The house holds: import directions, formatting, lint, types. The same commands as ``make check``."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["lint-imports", "ruff format --check .", "ruff check .", "mypy"])
def test_holds(command):
    name, *arguments = command.split()
    finished = subprocess.run([BIN / name, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_files_have_one_job():
    """Seldom above 250 lines, never above 310; a family, which carries its paper's claims, never above 350."""
    for folder, most in (("sweeps", 310), ("trainables", 350), ("infra", 310), ("analysis", 310)):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= most, path
