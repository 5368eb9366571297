"""Images with labels from 0 to 9, for families trained on real data: scikit-learn's digits, and CIFAR-10.

CIFAR-10 (Krizhevsky 2009) is read from the folder that the user names, in either official form, binary or python. The
python form is a pickle: it is checked before it is opened, and of all that a pickle can ask for it gets only stand-ins
for the three names that a stored numpy array uses; nothing in the file is executed, not even numpy's own code.
"""

import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from torch import Tensor

from trainables import generator

Images = npt.NDArray[np.uint8]  # (images, side, side, channels)
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Files:
    """The training files of CIFAR-10: five of ``records`` images in each form.

    md5: of the python form's files, as published with the archive (its own is c58f30108f718f92721af3b95e74349a); the
    binary form's files are held to their size and to labels from 0 to 9, for want of published sums.
    """

    records: int
    md5: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [f"data_batch_{i}" for i in range(1, 6)]


OFFICIAL = Files(
    10_000,
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
)
_BINARY, _PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
_RECORD = 1 + 3 * 32 * 32  # a label and an image: its red, green and blue plane, row by row


@lru_cache(maxsize=1)
def digits() -> tuple[Images, Labels]:
    """1797 handwritten digits, 8 x 8, grey from 0 to 16."""
    found = load_digits()
    return found.images.astype(np.uint8)[..., None], found.target.astype(np.int64)


def cifar10(folder: str | None, files: Files = OFFICIAL) -> tuple[Images, Labels]:
    """The training images of CIFAR-10, 32 x 32 x 3, from ``folder`` or the archive's folder in it.

    FileNotFoundError or ValueError, in one line that names the file expected, when one is missing or damaged.
    """
    if not folder:
        raise FileNotFoundError(
            f"--data cifar10 needs its files: name with --data-dir the folder that holds {_BINARY}/data_batch_1.bin "
            f"or {_PYTHON}/data_batch_1 (to data_batch_5)"
        )
    root = Path(folder)
    for place in (root / _BINARY, root):
        if any((place / f"{name}.bin").exists() for name in files.names()):
            return _joined([_binary(place / f"{name}.bin", files) for name in files.names()])
    for place in (root / _PYTHON, root):
        if any((place / name).exists() for name in files.names()):
            return _joined([_python(place / name, files) for name in files.names()])
    raise FileNotFoundError(f"{root / _BINARY / 'data_batch_1.bin'}: no such file, nor {_PYTHON}/data_batch_1 there")


def balanced(labels: Labels, n: int, rng: torch.Generator) -> npt.NDArray[np.int64]:
    """Which n images to take: a random choice in which the classes take turns, so that a larger n adds to it."""
    shuffled = torch.randperm(len(labels), generator=rng).numpy()
    of_class = [shuffled[labels[shuffled] == label] for label in range(10)]
    turns = range(max(map(len, of_class)))
    return np.array([members[turn] for turn in turns for members in of_class if turn < len(members)][:n])


@lru_cache(maxsize=8)
def chosen(data: str, n: int, seed: int) -> tuple[Float[Tensor, "n side side c"], Int[Tensor, " n"]]:
    """n images, equally many of each class to within one, every channel with mean 0 and variance 1 over them."""
    images, labels = of(data)
    taken = balanced(labels, n, generator("images", data, seed))
    X = torch.from_numpy(images[taken]).double()
    X = X - X.mean((0, 1, 2))
    return X / X.square().mean((0, 1, 2)).sqrt(), torch.from_numpy(labels[taken])


def of(data: str) -> tuple[Images, Labels]:
    """The training images of ``data``, "digits" or "cifar10"; those of CIFAR-10 from the folder WIDTHLAW_DATA."""
    return digits() if data == "digits" else _kept(os.environ.get("WIDTHLAW_DATA"))


def neighbourhoods(h: Float[Tensor, "n side side c"]) -> Float[Tensor, "n half half 9*c"]:
    """What a 3x3 convolution of stride 2 with a border of zeros sees. Reshapes: conv2d is slow when stacked."""
    n, side, _, c = h.shape
    rows = overlapping(h.reshape(n, side // 2, 2, side * c)).reshape(-1, side // 2, 2, c)
    both = overlapping(rows).reshape(n, side // 2, 3, side // 2, 3 * c)
    return both.transpose(2, 3).reshape(n, side // 2, side // 2, 9 * c)


def overlapping(pairs: Float[Tensor, "n half 2 c"]) -> Float[Tensor, "n half 3 c"]:
    """Each pair of rows with the row before it."""
    before = torch.nn.functional.pad(pairs[:, :-1, 1:], (0, 0, 0, 0, 1, 0))
    return torch.cat([before, pairs], 2)


def _joined(parts: list[tuple[Images, Labels]]) -> tuple[Images, Labels]:
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _binary(path: Path, files: Files) -> tuple[Images, Labels]:
    content = _content(path)
    if len(content) != files.records * _RECORD:
        raise ValueError(f"{path}: {len(content):,} bytes, but CIFAR-10's has {files.records * _RECORD:,}; damaged?")
    records = np.frombuffer(content, np.uint8).reshape(files.records, _RECORD)
    return _arranged(records[:, 1:], records[:, 0], path)


def _python(path: Path, files: Files) -> tuple[Images, Labels]:
    content = _content(path)
    wanted = files.md5.get(path.name)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if wanted and found != wanted:
        raise ValueError(f"{path}: md5 sum {found}, but CIFAR-10's is {wanted}; damaged?")
    try:
        batch = _Inert(io.BytesIO(content), encoding="bytes").load()
        planes = np.frombuffer(batch[b"data"].state[4], np.uint8).reshape(files.records, _RECORD - 1)
        labels = np.array(batch[b"labels"], np.int64)
        if labels.shape != (files.records,):
            raise ValueError(f"{labels.size} labels")
    except Exception as error:  # a damaged pickle may fail in any way
        raise ValueError(f"{path}: not CIFAR-10's python form ({' '.join(str(error).split())})") from None
    return _arranged(planes, labels, path)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; CIFAR-10's training set is data_batch_1 to data_batch_5")
    return path.read_bytes()


def _arranged(planes: Any, labels: Any, path: Path) -> tuple[Images, Labels]:
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{path}: a label is not from 0 to 9; damaged?")
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels.astype(np.int64)


class _StoredArray:
    """Stands for a numpy array in a pickle: keeps what is stored, (version, shape, type, order, bytes)."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Inert(pickle.Unpickler):
    """Reads plain containers, numbers, bytes and stored arrays; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray") and name in ("ndarray", "dtype", "_reconstruct"):
            return _StoredArray
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


_kept = lru_cache(maxsize=1)(cifar10)
