"""Decode the values of a checkpoint from the pickle that ``torch.save`` writes.

This is not an unpickler: it never imports or calls what the file names. It understands the few
opcodes with which ``torch.save`` writes dictionaries, lists, tuples, strings, numbers and tensors,
and refuses all others. An ``OrderedDict`` becomes a dictionary without attributes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

Item: TypeAlias = Any
"""Anything that a damaged file may put on the stack of the decoder."""

Value: TypeAlias = (
    "dict[str | int, Value] | list[Value] | tuple[Value, ...] | str | float | Tensor | None"
)
"""A tensor, a plain value, or a nested container of them."""

MAX_DEPTH = 100  # levels of nested containers
MAX_VALUES = 10**6  # values in all containers; a container that occurs twice counts twice
MAX_OPCODES = 4 * MAX_VALUES

_DAMAGED = "its pickle is damaged"
_MARK = object()
_DTYPES = {
    f"torch {name}Storage": dtype
    for name, dtype in {
        "BFloat16": torch.bfloat16,
        "Bool": torch.bool,
        "Byte": torch.uint8,
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "Int": torch.int32,
        "Long": torch.int64,
    }.items()
}
_DICTIONARY = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Global:
    """The name of a class or function that the pickle refers to; it is never imported."""

    name: str


@dataclass(frozen=True, eq=False)
class _Storage:
    """The numbers of one or several tensors."""

    values: Tensor  # (n,)


ReadTensor: TypeAlias = Callable[[str, torch.dtype], Tensor]
"""Takes the key of a storage in the archive and a dtype; returns all its numbers, ``(n,)``."""


def decode(data: bytes, read: ReadTensor) -> Value:
    """Return the value that ``torch.save`` pickled.

    Args:
        data: The pickle.
        read: Returns the numbers of a storage.

    Raises:
        ValueError: If the pickle is damaged, holds other objects or exceeds a limit; the message is
            one line.
    """
    value: Value = _Decoder(read).run(data)
    _check_tree(value)
    return value


class _Decoder:
    """Decodes one pickle: its stack of values, and its memo of values that occur again."""

    def __init__(self, read: ReadTensor) -> None:
        self._read = read
        self._stack: list[Item] = []
        self._memo: dict[int, Item] = {}
        self._storages: dict[str, tuple[torch.dtype, _Storage]] = {}

    def run(self, data: bytes) -> Item:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise ValueError(f"it has more than {MAX_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        if len(self._stack) != 1:
            raise ValueError(_DAMAGED)
        return self._stack[0]

    def _step(self, name: str, argument: Item) -> None:
        stack = self._stack
        if name == "BINUNICODE" or name == "BINFLOAT":
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _NUMBERS:
            if not -(2**63) <= argument < 2**64:
                raise ValueError("it has a number of more than 64 bits")
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(items)))
        elif name == "TUPLE":
            items = self._pop_to_mark()
            stack.append(tuple(items))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._pop_to_mark()
            self._top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self._pop_to_mark()
            self._set_items(items)
        elif name == "GLOBAL":
            stack.append(_Global(argument))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._construct(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of an OrderedDict: in a state dict, the versions of modules
            self._top(dict)
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif not (name == "PROTO" and argument == 2):
            raise ValueError(f"its pickle has the opcode {name}, which torch.save does not write")

    def _top(self, kind: type) -> Item:
        if type(self._stack[-1]) is not kind:
            raise ValueError(_DAMAGED)
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Item]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _set_items(self, items: list[Item]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise ValueError(_DAMAGED)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Keys of other types could all have the same hash, which makes a dictionary slow.
            if type(key) not in (str, int):
                raise ValueError(f"a key is of type {type(key).__name__}")
            if key in target:
                raise ValueError(f"the key {str(key)[:60]!r} occurs twice")
            target[key] = value

    def _construct(self, function: Item, arguments: Item) -> Item:
        if type(function) is not _Global or type(arguments) is not tuple:
            raise ValueError(_DAMAGED)
        if function.name == _DICTIONARY and not arguments:
            return {}
        if function.name == _TENSOR and len(arguments) == 6:
            storage, offset, size, stride, requires_grad, hooks = arguments
            plain = requires_grad is False and type(hooks) is dict and not hooks
            if type(storage) is _Storage and plain:
                return _view(storage.values, offset, size, stride)
        name = function.name[:100].replace(" ", ".")
        raise ValueError(f"it holds an object of {name}, which is not a plain value")

    def _storage(self, reference: Item) -> _Storage:
        if type(reference) is not tuple or len(reference) != 5:
            raise ValueError(_DAMAGED)
        _, kind, key, _, count = reference
        dtype = _DTYPES.get(kind.name) if type(kind) is _Global else None
        if dtype is None or type(key) is not str:
            raise ValueError("it holds a tensor of an unknown type")
        if key not in self._storages:
            self._storages[key] = dtype, _Storage(self._read(key, dtype))
        known, storage = self._storages[key]
        if known != dtype or type(count) is not int or count != len(storage.values):
            raise ValueError(f"the size of tensor {key[:60]} is wrong")
        return storage


def _view(values: Tensor, offset: Item, size: Item, stride: Item) -> Tensor:
    """Return a view of a storage; refuse a view whose elements share memory.

    Args:
        values: All numbers of the storage, ``(n,)``.
        offset: Position of the first element of the view in the storage.
        size: Shape of the view, a tuple.
        stride: Strides of the axes in elements, a tuple.
    """
    numbers = [offset, *size, *stride] if type(size) is type(stride) is tuple else [None]
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise ValueError("the shape of a tensor is damaged")
    if len(size) != len(stride) or len(size) > 64:
        raise ValueError("the shape of a tensor is damaged")
    if 0 not in size:
        extent, last = 1, offset
        # Axes by increasing stride: each stride must reach beyond the elements of the axes before.
        for step, length in sorted(zip(stride, size, strict=True)):
            if length > 1 and step < extent:
                raise ValueError("the numbers of a tensor overlap")
            if length > 1:
                extent, last = step * (length - 1) + extent, last + step * (length - 1)
        if last >= len(values):
            raise ValueError("a tensor is larger than its data")
    elif offset > len(values) or sum(size) > 2**40:
        raise ValueError("the shape of a tensor is damaged")
    return values.as_strided(size, stride, offset)


def _check_tree(value: Item) -> None:
    """Refuse objects, deep nesting, and containers that expand to too many values."""
    level, total = [value], 0
    for _ in range(MAX_DEPTH + 1):
        total += len(level)
        if total > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES:,} values")
        below: list[Item] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                below += item.values()
            elif kind in (list, tuple):
                below += item
            elif kind not in (str, int, float, bool, type(None), Tensor):
                raise ValueError(_DAMAGED)
            if len(below) > MAX_VALUES:
                raise ValueError(f"it has more than {MAX_VALUES:,} values")
        if not below:
            return
        level = below
    raise ValueError(f"its values are nested more than {MAX_DEPTH} levels deep")
