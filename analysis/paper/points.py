"""One row per grid point: how many trainings ended how, the share that fits with its interval, medians."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from analysis.paper.tidy import Metadata, encoded, stem, told
from analysis.series import share
from infra.store.schema import OUTCOMES

MEDIANS = ("measurement", "bound")
COUNTED = {
    "fit": "trainings that fit",
    "unfit": "trainings that did not fit within the budget",
    "diverged": "trainings that diverged",
    "stalled": "trainings stopped before their end, being out of reach",
    "failed": "trainings without a result (error, memory); not in the share",
}
SHARE = {
    "share": "share of the trainings that fit, of those that did not fail",
    "share_low": "lower end of its 95% Wilson interval",
    "share_high": "upper end of its 95% Wilson interval",
}


def files(plan: Mapping[str, Any], rows: pa.Table, metadata: Metadata) -> dict[str, bytes]:
    """The table of a plan's grid points, by name."""
    about = {key: value for key, value in metadata.items() if not key.startswith(("widthlaw.", "columns"))}
    return {
        f"points/{stem(plan)}.parquet": encoded(
            points(rows), {**about, "title": f"Grid points: {metadata.get('title', '')}"}
        )
    }


def points(rows: pa.Table) -> pa.Table:
    """A row per grid point, in the order in which the trainings stand; medians are over trainings with a value."""
    about = {one["name"]: one for one in told(rows.schema)}
    heads = ["point_id", *(name for name, one in about.items() if one["role"] == "axis")]
    middles = [name for name, one in about.items() if (one["role"] in MEDIANS or name == "steps") and number(one)]
    frame = rows.select(list(dict.fromkeys([*heads, *middles, "outcome", "success"]))).to_pandas()
    groups = frame.groupby("point_id", sort=False)
    first, medians = groups[heads[1:]].first().reset_index(), groups[middles].median()
    fields = [rows.schema.field(name) for name in heads]
    columns = [pa.array(first[field.name], field.type) for field in fields]

    def add(name: str, kind: pa.DataType, meaning: str, unit: str, role: str, values: Any) -> None:
        fields.append(pa.field(name, kind, metadata={"meaning": meaning, "unit": unit, "role": role}))
        columns.append(pa.array(values, kind, from_pandas=True))

    add("trainings", pa.int64(), "trainings recorded", "trainings", "count", groups.size().to_numpy())
    for name in OUTCOMES:
        counts = (frame["outcome"] == name).groupby(frame["point_id"], sort=False).sum()
        add(name, pa.int64(), COUNTED[name], "trainings", "count", counts.to_numpy())
    counted = zip(groups["success"].sum(), groups["success"].count(), strict=True)
    shares = [share(int(k), int(n)) if n else (None,) * 3 for k, n in counted]
    for (name, meaning), values in zip(SHARE.items(), zip(*shares, strict=True), strict=True):
        add(name, pa.float64(), meaning, "1", "share", values)
    for name in middles:
        one, meaning = about[name], f"median over the trainings: {about[name]['meaning']}"
        values = medians[name].to_numpy(dtype=float)
        add(f"median_{name}", pa.float64(), meaning, one["unit"], one["role"], values)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def number(column: Mapping[str, str]) -> bool:
    return column["type"] in ("double", "float", "int64", "int32", "int16", "int8")
