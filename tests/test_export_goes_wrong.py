"""An export of hostile texts, over what is no export, interrupted, or of what cannot be exported."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import planted_rows as planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from frictionless import Package
from test_export import answered, contents, make, small

from analysis import export
from analysis.paper import texts
from infra.store.storage import ResultsError


def test_hostile_texts_are_text(tmp_path, capsys):
    evil = "<script>alert(1)</script> | `rm` \n# head\n![x](http://x) $(rm) \\input{x}"
    odd = f"{evil} \ud800 \x1b[0m"
    out = small(tmp_path / "du", meanings=dict.fromkeys("mnd", evil), paper=[odd, odd], command=f"python x {evil}")
    (path,) = Path(out, "plans").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"claim": odd, "criterion": odd}))
    code, _, err = answered(
        capsys, "export", out, "--paper", str(tmp_path / "p"), "--author", evil[:50], "--licence", evil[:60]
    )
    assert (code, err) == (0, [])
    folder = tmp_path / "p"
    told = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert "license" not in told and told["title"].endswith(texts.clean(odd).replace("[0m", "? [0m"))
    package = json.loads((folder / "datapackage.json").read_text())
    assert Package.validate_descriptor(package).valid
    assert package["licenses"] == [{"path": "LICENSE", "title": texts.clean(evil[:60])}]
    for name in ("README.md", "DICTIONARY.md"):
        text = (folder / name).read_text()
        quiet = re.sub(r"`[^`\n]*`|^    .*$", "", text, flags=re.M)  # code is shown as it is
        assert not re.search(r"<script|(?<!\\)!\[x\]|(?<!\\)\[x\]\(|^# head", quiet, re.M), name
        for line in text.splitlines():
            if line.startswith("| "):
                assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 6, 7), line
    assert evil.encode(errors="replace") not in (folder / "Makefile").read_bytes()
    assert export.main([str(folder)]) == 0 and make(folder, "check").returncode == 0


def test_only_an_export_is_written_over(tmp_path, capsys):
    out, paper = small(tmp_path / "du"), tmp_path / "paper"
    arguments = ("export", out, "--paper", str(paper))
    paper.mkdir()
    assert answered(capsys, *arguments)[0] == 0, "an empty folder is free"
    before = contents(paper)
    code, said, _ = answered(capsys, *arguments)
    assert code == 0 and contents(paper) == before and "20 trainings" in said[0] and "--author" in said[1]
    (paper / "figures" / "mine.txt").write_text("mine")
    code, _, err = answered(capsys, *arguments)
    assert code == 2 and len(err) == 1 and "figures/mine.txt is no part of an export" in err[0]
    assert contents(paper) == before | {"figures/mine.txt": b"mine"}
    (paper / "figures" / "mine.txt").unlink()
    (paper / "README.md").write_text("and a paragraph of my own")
    code, _, err = answered(capsys, *arguments)
    assert code == 2 and len(err) == 1 and "README.md was changed since it was exported" in err[0]
    assert contents(paper) == before | {"README.md": b"and a paragraph of my own"}
    for place in (out, tmp_path / "du" / "plans" / f"{'a' * 20}.json", tmp_path / "du" / "paper"):
        code, _, err = answered(capsys, "export", out, "--paper", str(place))
        assert code == 2 and len(err) == 1 and str(place) in err[0]
    code, _, err = answered(capsys, "export", out, "--paper", "s3://b/c")
    assert code == 2 and "local folder" in err[0]


def test_an_interrupted_export_leaves_the_earlier_one(tmp_path, monkeypatch):
    out, paper = small(tmp_path / "du"), tmp_path / "paper"
    export.export(out, str(paper))
    before, real = contents(paper), os.replace

    def failing(error, when=lambda *_: True):
        def fail(*arguments):
            if when(*arguments):
                raise error
            return real(*arguments)

        return fail

    last = failing(OSError("busy"), lambda source, target: ".unfinished" in str(source) and target == paper)
    for place, name, fail, kind in (
        (export, "write_texts", failing(KeyboardInterrupt), KeyboardInterrupt),
        (export, "rebuild", failing(OSError("No space left")), ResultsError),
        (os, "replace", last, ResultsError),
    ):
        monkeypatch.setattr(place, name, fail)
        with pytest.raises(kind):
            export.export(out, str(paper), licence="MIT")
        monkeypatch.undo()
        assert contents(paper) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["du", "paper"]


def test_two_exports_at_once_into_one_folder_come_one_after_the_other(tmp_path, capsys):
    out, paper = small(tmp_path / "du"), tmp_path / "paper"
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: export.export(out, str(paper)), range(2)))
    assert both[0] == both[1] and both[0].files == len(contents(paper))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["du", "paper"]
    assert f"waiting for another export into {tmp_path}" in capsys.readouterr().err


def test_what_a_killed_export_left_goes_with_the_next_one_of_that_name_alone(tmp_path):
    out, others = (
        small(tmp_path / "du"),
        [".paper.0123abcd.unfinished", ".paper.0123abcd.earlier", ".paper.x.0123abcd.earlier"],
    )
    for name in others:
        (tmp_path / name).mkdir()
    export.export(out, str(tmp_path / "paper"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".paper.x.0123abcd.earlier", "du", "paper"]


def test_what_cannot_be_exported_is_told_in_a_line(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    planted.plan(tmp_path / "empty")
    strange = small(tmp_path / "strange")
    (path,) = Path(strange, "rows").iterdir()
    table = pq.read_table(path)
    pq.write_table(table.append_column("when", pa.array([1] * len(table), pa.timestamp("s"))), path)
    for name, words in (
        ("none", "holds no sweep"),
        ("empty", "no trainings yet"),
        ("strange", "column when"),
        ("x", "no sweep"),
    ):
        code, _, err = answered(capsys, "export", str(tmp_path / name), "--paper", str(tmp_path / "p"))
        assert code == 2 and len(err) == 1 and words in err[0], err
        assert not (tmp_path / "p").exists()
    assert export.main([str(tmp_path / "none")]) == 2
    assert "holds no exported data" in capsys.readouterr().err


def test_sweeps_without_a_critical_axis_and_without_rows(tmp_path, capsys):
    out = tmp_path / "du"
    axes = {"m": [64, 128], "n": [8], "d": [8]}
    planted.plan(out, axes, critical=None, over="m", metrics=["flips"], sweep="drift")
    planted.plan(out, {"m": [5], "n": [7], "d": [7]}, "b" * 20, sweep="later")
    planted.write(out, planted.rows(axes))
    code, lines, _ = answered(capsys, "export", str(out), "--paper", str(tmp_path / "paper"), "--json")
    told = json.loads("\n".join(lines))
    assert code == 0 and told["empty"] == ["later-bbbbbb"] and told["folder"] == str(tmp_path / "paper")
    assert (told["trainings"], told["missing"]) == ({"drift-aaaaaa": 20}, {"drift-aaaaaa": 0})
    names = set(contents(tmp_path / "paper"))
    assert "figures/drift-aaaaaa-metric-flips.pdf" in names and "figures/drift-aaaaaa.pdf" not in names
    assert not any("later" in name for name in names)
