"""Rows survive what happens to files, count once, and say the same whoever wrote them in whatever order."""

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training import trained

import trainables
from infra.planning import plan
from infra.store import records
from infra.store.schema import cell_id, point_id
from infra.store.storage import ResultsError

FAMILY = "random_features"
AXES = {"n": [4, 8], "m": [4, 8], "tolerance": [1e-12, 0.5]}
SEEDS = 3
VERSION = trainables.load(FAMILY).VERSION
RECIPE = {"plan_id": "p", "family": FAMILY, "numerics": VERSION, "axes": AXES, "seeds": SEEDS, "created": "2026-01-01"}
PROVENANCE = {"compute_seconds": 0.1, "pack_seconds": 1.0, "host": "here", "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def schema():
    return plan.row_schema(FAMILY)


@pytest.fixture(scope="module")
def rows():
    """The rows of 24 trained cells; one of them failed."""
    cells = plan.grid(FAMILY, AXES, SEEDS)
    parts = [trained(FAMILY, list(part)) for _, part in itertools.groupby(cells, lambda cell: (cell.n, cell.m))]
    found = [row | PROVENANCE for part in parts for row in part.values()]
    found[5] |= {"outcome": "failed", "success": None, "reason": "draw: it could not", "loss": None, "curve_loss": None}
    return found


@pytest.fixture
def out(tmp_path, rows, schema):
    """A results folder with three shards."""
    for part in (rows[:7], rows[7:8], rows[8:]):
        records.write_shard(str(tmp_path / "du"), part, schema)
    return str(tmp_path / "du")


def one_line(caught, *parts):
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert all(part in message for part in parts), message


# ------------------------------------------------------------------------------------------------ address and schema

FIELDS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans(),
)


@given(FIELDS, st.randoms())
def test_the_order_of_the_fields_does_not_move_a_cell(fields, rng):
    names = list(fields)
    rng.shuffle(names)
    assert cell_id("f", "1", {name: fields[name] for name in names}) == cell_id("f", "1", fields)


@given(st.lists(st.integers(-10, 10) | st.floats(-10, 10) | st.sampled_from(["a", "1", True]), min_size=2, max_size=2))
def test_two_values_share_an_address_when_they_are_equal_and_only_then(pair):
    a, b = pair
    same = a == b and isinstance(a, bool) == isinstance(b, bool)
    assert (cell_id("f", "1", {"x": a}) == cell_id("f", "1", {"x": b})) == same


def test_a_whole_number_given_to_a_float_axis_is_the_same_cell():
    assert cell_id("f", "1", {"eta": 1}) == cell_id("f", "1", {"eta": 1.0})
    assert cell_id("f", "1", {"noise": 0.0}) == cell_id("f", "1", {"noise": -0.0})
    assert cell_id("f", "1", {"eta": 1.0}) != cell_id("f", "1", {"eta": 1.0 + 2**-52})


def test_family_version_and_every_field_are_part_of_the_address_and_the_seed_not_of_the_points():
    fields = {"n": 4, "m": 8, "seed": 0}
    changed = [("g", "1", fields), ("f", "2", fields)] + [("f", "1", fields | {name: 9}) for name in fields]
    assert len({cell_id(*cell) for cell in [("f", "1", fields), *changed]}) == 6
    assert point_id("f", "1", fields) == point_id("f", "1", fields | {"seed": 9})
    assert len({point_id("f", "1", fields | {name: 9}) for name in fields}) == 3


def test_the_address_is_short_hexadecimal_and_stays_what_it_is():
    """A changed address would train everything again."""
    assert cell_id("random_features", "1", {"m": 8, "n": 4, "tolerance": 1e-12, "seed": 0}) == ("e11fac8c066457071863")


def test_nan_has_no_address():
    with pytest.raises(ValueError, match="not JSON compliant"):
        cell_id("f", "1", {"noise": float("nan")})


def test_every_column_has_a_type_a_meaning_and_a_unit(out, schema):
    written = pq.read_schema(next(Path(out, "rows").glob("*.parquet")))
    assert written.names == schema.names
    assert written.types == schema.types
    assert all(field.metadata[b"meaning"] and field.metadata[b"unit"] for field in written)
    types = {name: str(written.field(name).type) for name in ("m", "tolerance", "success", "steps", "family", "reason")}
    assert types == {
        "m": "int64", "tolerance": "double", "success": "int8", "steps": "int64", "family": "string", "reason": "string"
    }  # fmt: skip
    assert str(written.field("curve_loss").type).endswith(": double>")


# ---------------------------------------------------------------------------------------------------------- reading


def test_rows_are_read_back_as_they_were_written(out, rows, schema):
    table, foreign = records.read_rows(out)
    assert foreign == []
    by_id = {row["cell_id"]: row for row in table.to_pylist()}
    assert by_id == {row["cell_id"]: {name: row.get(name) for name in schema.names} for row in rows}
    assert all(json.dumps(by_id[row["cell_id"]]["curve_loss"]) == json.dumps(row["curve_loss"]) for row in rows)


def test_only_what_did_not_fail_counts_as_recorded(out, rows):
    known, _ = records.recorded(out)
    assert known == {row["cell_id"] for row in rows if row["outcome"] != "failed"}
    assert len(known) == len(rows) - 1


@pytest.mark.parametrize("failed_first", [True, False])
def test_a_cell_written_twice_counts_once_and_its_failure_yields(out, rows, schema, failed_first):
    """Both orders of reading: a shard's name is the content of its cells, so its companions decide the order."""
    alone = rows[5] | {"outcome": "unfit", "success": 0, "loss": 0.25}
    companions = ([part, rows[i]] for i in range(24) for part in [alone] if i != 5)
    failed_name = min(Path(out, "rows").glob("*"), key=lambda path: alone["cell_id"] not in ids(path)).name
    for pair in companions:
        name = records.write_shard(out, pair, schema) + ".parquet"
        if (failed_name < name) == failed_first:
            break
        Path(out, "rows", name).unlink()
    else:
        pytest.fail("no companion gives that order")
    table, _ = records.read_rows(out)
    assert len(table) == len(rows)
    (row,) = [row for row in table.to_pylist() if row["cell_id"] == alone["cell_id"]]
    assert (row["outcome"], row["loss"]) == ("unfit", 0.25)


def ids(path):
    return pq.read_table(path, columns=["cell_id"])["cell_id"].to_pylist()


def test_the_same_pack_written_again_is_the_same_shard(out, rows, schema):
    before = sorted(Path(out, "rows").iterdir())
    records.write_shard(out, rows[6::-1], schema)
    assert sorted(Path(out, "rows").iterdir()) == before


def test_a_plan_picks_exactly_its_rows(out, rows, schema):
    other = [row | {"cell_id": f"{i}", **change} for i, (row, change) in enumerate(
        itertools.product(rows[:1], [{"seed": 3}, {"n": 5}, {"tolerance": 0.25}, {"numerics": "0"}, {"family": "g"}])
    )]  # fmt: skip
    records.write_shard(out, other, schema)
    table = records.plan_rows(out, RECIPE)
    assert table["cell_id"].to_pylist() == sorted(row["cell_id"] for row in rows)
    narrow = records.plan_rows(out, RECIPE | {"axes": AXES | {"n": [8]}, "seeds": 2}, columns=["loss"])
    wanted = sorted((row["cell_id"], row["loss"]) for row in rows if row["n"] == 8 and row["seed"] < 2)
    assert list(zip(narrow["cell_id"].to_pylist(), narrow["loss"].to_pylist(), strict=True)) == wanted
    assert len(wanted) == 8
    assert len(records.plan_rows(out, RECIPE | {"axes": AXES | {"invented": [1]}})) == 0
    assert len(records.plan_rows(f"{out}/nothing", RECIPE)) == 0


def test_a_column_that_came_later_is_empty_in_older_rows(out, rows, schema):
    later = schema.append(pa.field("extra", pa.float64(), metadata={"meaning": "new", "unit": "1"}))
    records.write_shard(out, [rows[0] | {"cell_id": "new", "extra": 2.5}], later)
    table, foreign = records.read_rows(out)
    assert foreign == []
    assert sorted(table["extra"].to_pylist(), key=str) == [2.5] + [None] * len(rows)


def test_families_whose_columns_clash_are_read_one_at_a_time(out, rows, schema):
    clash = schema.set(schema.get_field_index("m"), pa.field("m", pa.string()))
    records.write_shard(out, [rows[0] | {"cell_id": "new", "family": "other", "m": "wide"}], clash)
    with pytest.raises(ResultsError) as caught:
        records.read_rows(out)
    one_line(caught, "do not fit together", "read one family")
    assert len(records.read_rows(out, "other")[0]) == 1
    assert len(records.read_rows(out, FAMILY)[0]) == len(rows)


@settings(max_examples=15, deadline=None)
@given(rng=st.randoms(use_true_random=False), data=st.data())
def test_the_digest_depends_on_what_the_rows_say_alone(rows, schema, tmp_path_factory, rng, data):
    folder = str(tmp_path_factory.mktemp("digest"))
    shuffled = [row | {"host": rng.choice(["a", None]), "pack_seconds": rng.random()} for row in rows]
    rng.shuffle(shuffled)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1), max_size=5)))
    for start, end in itertools.pairwise([0, *cuts, len(rows)]):
        records.write_shard(folder, shuffled[start:end], schema)
    digest = records.digest(records.read_rows(folder)[0])
    plain = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
    assert digest == records.digest(plain) == records.digest(records.plan_rows(folder, RECIPE))
    changed = plain.to_pylist()
    changed[3]["loss"] += 1e-12
    assert digest != records.digest(pa.Table.from_pylist(changed, schema))
    assert digest != records.digest(plain.slice(1))


def test_an_empty_folder_has_no_rows_no_plans_and_a_digest(tmp_path):
    table, foreign = records.read_rows(str(tmp_path))
    assert (len(table), foreign, records.recorded(str(tmp_path)), records.read_plans(str(tmp_path))) == (
        0, [], (set(), []), []
    )  # fmt: skip
    assert records.digest(table) == records.digest(records.plan_rows(str(tmp_path), RECIPE))
