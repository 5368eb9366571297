"""What can be trained: families with their papers, axes and claims, in words."""

import dataclasses
import inspect
import re
from typing import Any

import trainables


def listed(name: str | None = None) -> str:
    """All families, or one with its equations too. ValueError names the known ones when there is no such family."""
    return "\n\n".join(described(one) for one in trainables.names()) if name is None else in_full(name)


def as_data(name: str | None = None) -> list[dict[str, Any]]:
    """What ``listed`` says, as plain data. ValueError as there."""
    told = []
    for one in trainables.names() if name is None else [name]:
        module = trainables.load(one)
        title, paper = head(module)
        axes = [
            {"name": field.name, "default": None if field.default is dataclasses.MISSING else field.default}
            | {key: field.metadata[key] for key in ("meaning", "unit")}
            for field in dataclasses.fields(module.Cell)
        ]
        family = {"family": one, "title": title, "paper": paper, "criterion": module.CRITERION, "axes": axes}
        told.append(family | {"claims": list(module.CLAIMS)})
    return told


def described(name: str) -> str:
    """Title, paper, axes and claims of one family."""
    module = trainables.load(name)
    title, paper = head(module)
    lines = [f"{name}: {title}", f"  {paper}", f"  a training fits: {module.CRITERION}", "  axes"]
    fields = dataclasses.fields(module.Cell)
    width = max(len(field.name) for field in fields)
    for field in fields:
        unit = field.metadata["unit"]
        told = f"{field.metadata['meaning']}{'' if unit == '1' else f' [{unit}]'}"
        default = "" if field.default is dataclasses.MISSING else f" (default {field.default})"
        lines.append(f"    {field.name:<{width}}  {told}{default}")
    lines.append("  claims")
    lines += [f"    {claim['name']} [{claim['tag']}]: {claim['statement']}" for claim in module.CLAIMS]
    return "\n".join(lines)


def in_full(name: str) -> str:
    """The family's docstring with its numbered equations, then its axes and claims."""
    return f"{inspect.getdoc(trainables.load(name))}\n\n{described(name)}"


def head(module: Any) -> tuple[str, str]:
    """The first sentence of a family's docstring, and the sentence that names its paper."""
    text = inspect.getdoc(module) or ""
    paper = next((part for part in text.split("\n\n") if "arXiv" in part), "")
    return text.splitlines()[0].rstrip("."), " ".join(re.split(r"\n\s{4}", paper)[0].split()).removesuffix(":")
