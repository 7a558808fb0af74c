"""Counts what torch does, operator by operator: bytes given to collectives, and bytes of tensors alive."""

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Counting(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, which takes seconds, to keep it out of this class


class Traffic(_Counting):
    """Counts the bytes of all tensors that are given to collectives, sent and received, however these are called.

    `num_bytes` has them by the operator's name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if function.namespace == "c10d":
            self.num_bytes[function.overloadpacket.__name__] += sum(tensor.nbytes for tensor in _tensors(args, kwargs))
        return function(*args, **(kwargs or {}))


class LiveMemory(_Counting):
    """Bytes of the tensors that are made while it is active and still alive, on any device.

    What existed before, and views of it, count nothing. Work space that an operator frees before it returns is not
    seen. `peak` is the most bytes alive at once, `largest` the largest single allocation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        for tensor in _tensors(args, kwargs):
            self._meet(tensor, is_new=False)
        result = function(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._meet(tensor, is_new=True)
        return result

    def _meet(self, tensor: Tensor, is_new: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        num_bytes = storage.nbytes() if is_new else 0
        self._known.add(key)
        # A storage's Python object lives as long as the memory behind it.
        weakref.finalize(storage, self._forget, key, num_bytes).atexit = False
        self.now += num_bytes
        self.peak = max(self.peak, self.now)
        self.largest = max(self.largest, num_bytes)

    def _forget(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self.now -= num_bytes


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
