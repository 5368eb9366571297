"""The shell completes the words of the command, in a real bash."""

import subprocess

from infra.commands import cli

ASKED = """
COMP_WORDS=(widthlaw re) COMP_CWORD=1 COMP_LINE="widthlaw re" COMP_POINT=11
$(complete -p widthlaw | sed 's/.*-F \\([^ ]*\\).*/\\1/') widthlaw re widthlaw
echo "${COMPREPLY[@]}"
complete -p widthlaw
"""


def test_bash_completes_a_command(capsys):
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out + ASKED
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    words, told = done.stdout.splitlines()
    assert words.split() == ["report", "replay"] and "-o default" in told, done.stderr  # and files, where no word fits
