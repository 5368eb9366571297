"""Where a checkpoint or an error of a trial should be, no pickle is opened."""

import io
import os
import pickle
from types import SimpleNamespace

import torch
from test_trial import config

from infra import relay
from infra.store import storage
from infra.trial import PackTrial


class Evil:
    """Pickled, it makes a file where it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def saved(what):
    content = io.BytesIO()
    torch.save(what, content)
    return content.getvalue()


def test_no_pickle_is_opened_where_a_checkpoint_should_be(tmp_path):
    place, sign = tmp_path / "du" / "states", tmp_path / "run"
    place.mkdir(parents=True)
    trial = PackTrial(config(tmp_path / "du"))
    of = {"of": trial.of, "pack_seconds": 1.0}
    for content in (
        pickle.dumps(Evil(sign), protocol=2),
        saved(of | {"k": Evil(sign)}),
        b"",
        saved([1]),
        saved({"of": [1]}),
    ):
        (place / "pack-0.pt").write_bytes(content)
        assert trial.take_up().whole.rows == {} and trial.seconds == 0, "it starts anew"
    assert not sign.exists()


ERROR = """Failure # 1 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
Failure # 2 (occurred at 2026-01-01_00-00-01)
\x1b[36mray::ResourceTrainable.train()\x1b[39m (pid=1, ip=127.0.0.1)
  File "trial.py", line 1, in step
RuntimeError: stack expects each tensor to be equal size
"""


def test_of_an_error_the_text_is_read_alone(tmp_path):
    (tmp_path / "du").mkdir()
    (tmp_path / "du" / "error.txt").write_text(ERROR)
    (tmp_path / "du" / "error.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "run")))
    known = SimpleNamespace(pickled_error_filename="error.pkl")
    trial = SimpleNamespace(error_file=str(tmp_path / "du" / "error.txt"), run_metadata=known)
    told = relay.last_failure(trial)
    assert told.splitlines()[-1] == "RuntimeError: stack expects each tensor to be equal size"
    assert relay.RAISED.match(told) and not storage.of_files(told)
    assert known.pickled_error_filename is None, "Tune opens it otherwise when it collects its results"
    assert not (tmp_path / "run").exists()
    assert not relay.RAISED.match(ERROR.splitlines()[1])
    for name, told in (("FileNotFoundError", True), ("infra.store.storage.ResultsError", True), ("ValueError", False)):
        assert storage.of_files(f"ray::f()\n  File x\nKeyError: 1\n{name}: [Errno 2] no\nmore") == told
