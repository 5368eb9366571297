"""Addresses that carry a secret are refused, and never said."""

import pytest
from test_hostile_folder import SWEEP, answered

from infra import launch, options
from infra.catalogue import tracking
from infra.launch import every
from infra.store import storage


@pytest.mark.parametrize(
    "uri",
    [
        "s3://KEY:TOPSECRET@bucket/du", "s3://TOPSECRET@bucket/du", "abfs://c:TOPSECRET@a.dfs.core.windows.net/du",
        "gs://TOPSECRET@bucket/du", "s3://bucket/du?secret_key=TOPSECRET", "fsspec+ftp://me:TOPSECRET@host/du",
        "s3://bucket/du?region=us-east-1&session_token=TOPSECRET",
        "s3://b/du?endpoint_override=http%3A%2F%2Fme%3ATOPSECRET%40h",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_without_saying_it(capsys, uri):
    assert launch.main(SWEEP, ["--out", uri]) == 2
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) == 1 and "AWS_SECRET_ACCESS_KEY" in said.err
    assert "TOPSECRET" not in said.err + said.out
    for command in (["report", uri], ["fit", uri, "--over", "n", "--critical", "m"], ["sync", uri]):
        code, lines = answered(capsys, *command)
        assert code == 2 and len(lines) == 1 and "TOPSECRET" not in lines[0], lines


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/du?region=x",
        "s3://bucket/du?endpoint_override=http://127.0.0.1:9&region=x",
        "gs://anonymous@bucket/du",
    ],
)
def test_an_address_without_one_is_taken(uri):
    assert storage.locate(uri)[1] == "bucket/du"
    assert storage.parted(storage.beside(uri, "report.html")) == (uri, "report.html")


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:TOPSECRET@h:1", "https://TOPSECRET@h", "postgresql://me:TOPSECRET@h/db", "http://me:TOP/SECRET@h:1",
        "postgresql://h/db?user=me&PASSWORD=TOPSECRET", "mysql+pymysql://h/db?passwd=TOPSECRET",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3DTOPSECRET",
    ],
)  # fmt: skip
def test_a_password_for_mlflow_is_refused_on_the_command_line(tmp_path, capsys, uri):
    assert launch.main(SWEEP, ["--out", str(tmp_path), "--tracking-uri", uri]) == 2
    assert every([SWEEP], ["--out", str(tmp_path), "--tracking-uri", uri]) == 2
    err = capsys.readouterr().err
    assert err.count("MLFLOW_TRACKING_PASSWORD") == 2 and "TOPSECRET" not in err
    code, (line,) = answered(capsys, "sync", str(tmp_path), "--tracking-uri", uri)
    assert code == 2 and "TOPSECRET" not in line
    assert not any(tmp_path.iterdir())
    assert "TOPSECRET" not in tracking.ui_command(uri)


def test_of_all_sweeps_none_is_told_the_address_that_the_environment_holds(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:TOPSECRET@127.0.0.1:1")
    told = []
    monkeypatch.setattr(options, "parse", lambda _, line: told.append(line))
    assert every([SWEEP], ["--dry-run"]) == 0
    assert told and "TOPSECRET" not in str(told)
