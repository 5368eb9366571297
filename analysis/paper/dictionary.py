"""The data dictionary: DICTIONARY.md to read, datapackage.json (Data Package, version 2) for programs."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.paper.texts import SPDX, Publication, clean, code, markdown, person
from analysis.paper.tidy import told
from infra.store.schema import SCHEMA_VERSION

PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
ROLES = {
    "identifier": "which training, grid point, family and version",
    "axis": "chosen for the training",
    "seed": "the random draw: trainings that differ in it alone are repetitions",
    "outcome": "how the training ended",
    "measurement": "measured on the training",
    "bound": "what a theorem states for this training, computed from its data",
    "computed": "follows from the training's data and axes, before it begins",
    "curve": "measured along the training, a list; entry i was taken at step curve_step[i]",
    "provenance": "what computed the row",
    "count": "trainings of a grid point",
    "share": "of the trainings of a grid point",
}
HEAD = """# Data dictionary

Schema version {version}. One table per kind of file; the same is in each Parquet file (metadata of the columns, and
once more as JSON under the key `columns` of the file's metadata) and in `datapackage.json`. Empty (null) or NaN: no
value, for instance because the training failed or diverged. Unit 1: a pure number, or a text.

Roles: {roles}.
"""


def markdown_of(tables: Mapping[str, pa.Schema]) -> str:
    """DICTIONARY.md of the schemas of the files, by name; files with the same columns are told once."""
    kinds: dict[str, list[str]] = {}
    for name, schema in tables.items():
        kinds.setdefault(json.dumps(told(schema)), []).append(name)
    lines = [HEAD.format(version=SCHEMA_VERSION, roles="; ".join(f"*{name}*: {text}" for name, text in ROLES.items()))]
    for columns, names in kinds.items():
        lines += [
            f"## {', '.join(map(code, names))}",
            "",
            "| column | type | unit | role | meaning |",
            "|---|---|---|---|---|",
        ]
        for one in json.loads(columns):
            cells = (code(one["name"]), code(one["type"]), code(one["unit"]), one["role"], markdown(one["meaning"]))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def package(about: Publication, contents: Mapping[str, bytes], titles: Mapping[str, str], papers: Sequence[str]) -> str:
    """datapackage.json of the Parquet files. contents, titles: by name; papers: that the sweeps are about."""
    descriptor: dict[str, Any] = {
        "$schema": PROFILE,
        "name": slug(next(iter(contents)).removeprefix("data/").removesuffix(".parquet")),
        "title": clean(about.title),
        "licenses": [licence(about)],
        "keywords": ["neural networks", "scaling laws", "widthlaw"],
        "schemaVersion": SCHEMA_VERSION,
        "citation": clean(about.citation),
    }
    if about.authors:
        descriptor["contributors"] = [contributor(name) for name in about.authors]
    if papers:
        descriptor["sources"] = [{"title": clean(paper)} for paper in dict.fromkeys(papers)]
    descriptor["resources"] = [resource(name, content, titles[name]) for name, content in contents.items()]
    return json.dumps(descriptor, indent=1, ensure_ascii=False) + "\n"


def licence(about: Publication) -> dict[str, str]:
    """By its identifier where it has one, else by the file beside."""
    if about.spdx:
        return {"name": about.spdx, "path": f"{SPDX}{about.spdx}.html"}
    return {"path": "LICENSE", "title": clean(about.licence)}


def contributor(name: str) -> dict[str, Any]:
    told = person(name)
    parts = (
        {"familyName": clean(told["family-names"]), "givenName": clean(told["given-names"])} if len(told) > 1 else {}
    )
    return {"title": clean(name), **parts, "roles": ["author"]}


def resource(name: str, content: bytes, title: str) -> dict[str, Any]:
    """One Parquet file."""
    schema = pq.read_schema(pa.BufferReader(content))
    fields = [field(one) for one in told(schema)]
    keys = [one for one in ("cell_id", "point_id") if one in schema.names][:1]
    table: dict[str, Any] = {"fields": fields, "primaryKey": keys, "missingValues": [""]}
    if name.endswith("-curves.parquet"):
        trainings = slug(name.replace("-curves.parquet", ".parquet"))
        table["foreignKeys"] = [{"fields": keys, "reference": {"resource": trainings, "fields": keys}}]
    return {
        "name": slug(name), "type": "table", "title": clean(title), "path": name, "format": "parquet",
        "mediatype": "application/vnd.apache.parquet", "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}", "schema": table,
    }  # fmt: skip


def field(told: Mapping[str, str]) -> dict[str, str]:
    """A column as Table Schema has it; unit and role are our own."""
    kind = told["type"]
    plain = {"string": "string", "bool": "boolean", "double": "number", "float": "number"}
    of = "array" if kind.startswith("list") else plain.get(kind, "integer")
    return {
        "name": told["name"],
        "type": of,
        "description": clean(told["meaning"]),
        "unit": clean(told["unit"]),
        "role": told["role"],
    }


def slug(name: str) -> str:
    """A name of small letters, digits, . _ and -."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.removesuffix(".parquet").lower()).strip("-")
