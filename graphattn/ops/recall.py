"""Remembers what was made of a tensor, for as long as the tensor lives and is not changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from graphattn.ops.layout import not_inference

T = TypeVar("T")
Size = TypeVar("Size")

# The last thing made of each tensor, by the tensor's identity, and what it was made with. Entries are only read, written and
# dropped one by one, so threads need no lock: at worst two of them make the same thing.
_made: WeakIdKeyDictionary = WeakIdKeyDictionary()


def recall(kind: type[T], tensor: Tensor, size: Size, make: Callable[[Tensor, Size], T]) -> T:
    """`make(tensor, size)`, or what it gave the last time, where tensor and size are the same and the tensor is unchanged.

    Nothing is remembered while tracing, nor of tensors made in inference mode, which have no version. A sparse tensor shares
    its version with its indices.
    What is made must not hold the tensor itself or a view of it, which would keep it alive; a view of `tensor.detach()` may be.
    """
    if torch.compiler.is_compiling() or not isinstance(tensor, Tensor) or tensor.is_inference():
        return make(tensor, size)
    # Both a torch_geometric EdgeIndex and the tensor inside it count changes, each its own.
    key = (kind, size, tensor._version, plain(tensor)._version)
    known = _made.get(tensor)
    if known is not None and known[0] == key:
        return known[1]
    with not_inference():
        made = make(tensor, size)
    _made[tensor] = (key, made)
    return made


def recall_with(instance: object, name: str, others: tuple[object, ...], make: Callable[[], T]) -> T:
    """`make()`, or what it gave the last time with the same `others`: kept on the instance, as `name`. Not while tracing.

    Tensors are the same if they are one object; what changes them in place must be among `others`.
    """
    if torch.compiler.is_compiling():
        return make()
    known = vars(instance).get(name)
    if known is None or not all(one is other or _equal(one, other) for one, other in zip(known[0], others, strict=True)):
        with not_inference():
            known = (others, make())
        setattr(instance, name, known)
    return known[1]


def keep(instance: object, name: str, make: Callable[[], T]) -> T:
    """`make()`, or what it gave the last time: kept on the instance, as `name`."""
    made: T | None = getattr(instance, name, None)
    if made is None:
        made = make()
        setattr(instance, name, made)
    return made


def _equal(one: object, other: object) -> bool:
    return not isinstance(one, Tensor) and one == other


class remembered(Generic[T]):
    """A property that is computed when first read, and kept on the instance; no field of a dataclass.

    As `functools.cached_property`, which Python 3.11 guards with a lock that torch.compile cannot trace.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> T:
        if instance is None:
            return self  # type: ignore[return-value]  # read on the class, as documentation tools do
        made = self.make(instance)
        setattr(instance, self.name, made)
        return made


def plain(tensor: Tensor) -> Tensor:
    """The tensor inside a torch_geometric Index or EdgeIndex; any other tensor as it is."""
    return tensor.as_tensor() if type(tensor) is not Tensor and hasattr(tensor, "as_tensor") else tensor
