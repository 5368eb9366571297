"""``widthlaw families``: what can be trained, in words and as data."""

import json

import pytest

import trainables
from infra.commands import cli


@pytest.mark.parametrize("name", [*trainables.names(), ""])
def test_the_data_are_what_the_words_say(name, capsys):
    asked = ["families", *([name] if name else [])]
    assert cli.main(asked) == 0
    words = capsys.readouterr().out
    assert cli.main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["family"] for one in told] == ([name] if name else trainables.names())
    for one in told:
        part = words.split(f"{one['family']}: {one['title']}\n")[1].split("\n\n")[0]
        assert one["criterion"] in part
        for axis in one["axes"]:
            default = "" if axis["default"] is None else f"(default {axis['default']})"
            line = next(line for line in part.splitlines() if line.startswith(f"    {axis['name']} "))
            assert axis["meaning"] in line and default in line
        assert all(f"{claim['name']} [{claim['tag']}]: {claim['statement']}" in part for claim in one["claims"])


def test_an_unknown_family_is_one_line(capsys):
    assert cli.main(["families", "two_layer", "--json"]) == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith("widthlaw: unknown family 'two_layer'; known: ") and error.count("\n") == 1
