"""What is counted while operations of torch run: bytes that live, FLOPs of products."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Watch(TorchDispatchMode):  # type: ignore[misc]
    """A mode that sees every operation, for which torch need not import its compiler: two seconds of each start."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Products(Watch):
    """Counts the ``flops`` of matrix products and convolutions, as torch's own FlopCounterMode."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: int = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


class Live(Watch):
    """Counts the bytes of tensors made under it: ``now`` living, ``most`` at any time, with the copy that a singular
    value decomposition works on. (Eigenvalues are found in the place of their vectors.)"""

    def __init__(self) -> None:
        super().__init__()
        self.now: int = 0
        self.most: int = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self.known:
                storage = tensor.untyped_storage()
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.freed, storage._cdata, storage.nbytes())
        if "linalg_svd" in function.name():
            self.most = max(self.most, self.now + args[0].nbytes)
        return out

    def freed(self, which: int, size: int) -> None:
        self.known.discard(which)
        self.now -= size
