"""CIFAR-10's files: small ones in both official forms, read, refused in a line, and no pickle executed."""

import math
import os
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_perturbed_dcnn import CELL
from torch.func import vmap

from trainables import _images
from trainables import perturbed_dcnn as dcnn

RECORDS = 4
FILES = _images.Files(RECORDS)


def content(i):
    rng = np.random.default_rng(i)
    return rng.integers(0, 256, (RECORDS, 3072), dtype=np.uint8), rng.integers(0, 10, RECORDS)


def binary(planes, labels):
    return np.concatenate([labels.astype(np.uint8)[:, None], planes], 1).tobytes()


def python(planes, labels):
    """The official pickle: written by Python 2, protocol 2, so that texts are bytes."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + text(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR("
    kind += number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array += b"(" + number(1) + b"(" + number(len(planes)) + number(3072) + b"t" + kind + b"\x89"
    array += text(planes.tobytes()) + b"tb"
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def written(folder, form):
    place = folder / ("cifar-10-batches-bin" if form is binary else "cifar-10-batches-py")
    place.mkdir()
    for i in range(1, 6):
        (place / f"data_batch_{i}{'.bin' if form is binary else ''}").write_bytes(form(*content(i)))
    return place


def test_the_test_pickle_is_one_that_numpy_itself_would_read():
    planes, labels = content(1)
    batch = pickle.loads(python(planes, labels), encoding="bytes")
    assert np.array_equal(batch[b"data"], planes) and batch[b"labels"] == labels.tolist()


@pytest.mark.parametrize("form", [binary, python])
@pytest.mark.parametrize("inside", [True, False])
def test_both_official_forms_give_the_same_images(tmp_path, form, inside):
    place = written(tmp_path, form)
    images, labels = _images.cifar10(str(place if inside else tmp_path), FILES)
    assert images.shape == (5 * RECORDS, 32, 32, 3)
    planes, expected = content(2)
    assert labels[RECORDS : 2 * RECORDS].tolist() == expected.tolist()
    assert images[RECORDS + 1, 3, 5, 2] == planes[1, 2 * 1024 + 3 * 32 + 5]


def test_missing_and_damaged_files_are_named_in_one_line(tmp_path):
    place = written(tmp_path, binary)

    def refused(error, match, folder=tmp_path, files=FILES):
        with pytest.raises(error, match=match) as caught:
            _images.cifar10(folder and str(folder), files)
        assert "\n" not in str(caught.value)

    refused(FileNotFoundError, "--data-dir.*data_batch_1.bin", folder=None)
    refused(FileNotFoundError, "data_batch_1.bin: no such file", folder=tmp_path / "nowhere")
    refused(ValueError, "data_batch_1.bin: 12,292 bytes, but CIFAR-10's has 30,730,000", files=_images.OFFICIAL)
    (place / "data_batch_3.bin").write_bytes(binary(content(3)[0], np.full(RECORDS, 10)))
    refused(ValueError, "data_batch_3.bin: a label")
    (place / "data_batch_3.bin").unlink()
    refused(FileNotFoundError, "data_batch_3.bin: no such file")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_checked_by_its_sum_and_executes_nothing(tmp_path):
    place = written(tmp_path, python)
    with pytest.raises(
        ValueError, match=r"data_batch_1: md5 sum .* but CIFAR-10's is c99cafc152244af753f735de768cd75f"
    ):
        _images.cifar10(str(tmp_path), _images.OFFICIAL)
    trap = tmp_path / "executed"
    for harmful in (pickle.dumps(Harmful(str(trap)), 2), b"not a pickle", python(content(1)[0][:2], content(1)[1])):
        (place / "data_batch_4").write_bytes(harmful)
        with pytest.raises(ValueError, match="data_batch_4: not CIFAR-10's python form") as caught:
            _images.cifar10(str(tmp_path), FILES)
        assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_training_on_cifars_files(tmp_path, monkeypatch):
    written(tmp_path, binary)
    monkeypatch.setattr(_images, "_kept", lambda folder: _images.cifar10(folder, FILES))
    monkeypatch.setenv("WIDTHLAW_DATA", str(tmp_path))
    cell = replace(CELL, data="cifar10", data_seed=77, m=2, max_steps=3)
    state = dcnn.draw(cell)
    assert state.patches.shape == (10, 16, 16, 27)
    losses = [float(vmap(dcnn.step)(dcnn.State(*(torch.stack([x, x]) for x in state))).loss[0]), float(state.loss)]
    assert all(map(math.isfinite, losses)) and losses[0] != losses[1]
    monkeypatch.delenv("WIDTHLAW_DATA")
    with pytest.raises(FileNotFoundError, match="--data-dir"):
        dcnn.check(cell)
