"""What is printed where a reader stops early."""

import subprocess
import sys


def test_a_reader_that_stops_early_is_no_error():
    code = "from infra.store.storage import tell\nfor i in range(100_000): tell(str(i))\nraise SystemExit(3)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 3, "it goes on to its end"
