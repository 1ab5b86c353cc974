"""The opcodes that a pickle of arrays may have, checked before anything is unpickled.

``pickle.Unpickler`` reserves memory for the lengths and positions that a file claims: nine bytes
suffice for gigabytes. The check follows the opcodes without executing them and allows only lengths
within the file, positions that can occur, and a bounded number of objects.

References:
    Python's documentation of ``pickletools`` describes the opcodes.
"""

from __future__ import annotations

import pickle

OPCODE_LIMIT = 1_000_000
"""Opcodes of a file; each makes an object of up to 100 bytes. CIFAR-100 has 250,000."""
TUPLE_LIMIT = 1_000
"""Tuples of a file. Hashing tuples nested a million deep would overflow the stack."""
NUMBER_LIMIT = 32
"""Characters of a number in text form; reading long ones takes quadratic time."""

# Opcodes by the number of bytes that follow them.
_FIXED: dict[int, int] = {
    **dict.fromkeys(b"(.N\x88\x89]})tld\x85\x86\x87aesu\x94Rb\x93", 0),
    **dict.fromkeys(b"\x80Khq", 1),  # protocol, one-byte integers and positions in the memo
    **dict.fromkeys(b"M", 2),
    **dict.fromkeys(b"Jjr", 4),
    **dict.fromkeys(b"G\x95", 8),  # a float, the length of a frame
}
# Opcodes of strings, bytes and long integers by the number of bytes of their length.
_COUNTED: dict[int, int] = {
    **dict.fromkeys(b"UC\x8c\x8a", 1),
    **dict.fromkeys(b"TBX", 4),
    **dict.fromkeys(b"\x8e\x8d\x96", 8),
}
# Opcodes by the number of lines that follow them.
_LINES: dict[int, int] = {**dict.fromkeys(b"IFSVgp", 1), **dict.fromkeys(b"c", 2)}
_NUMBERS = b"IFgp"  # those whose line is a number
_PUTS = {ord("q"): 1, ord("r"): 4}  # bytes of the position at which the memo gets an object
_TUPLES = b"t)\x85\x86\x87"


def check(data: bytes) -> None:
    """Check the opcodes of a pickle.

    Raises:
        pickle.UnpicklingError: If there is an opcode that arrays do not need, a length beyond the
            end of the file, a position that cannot occur, or more objects than the limits allow.
    """
    position, opcodes, tuples = 0, 0, 0
    while position < len(data):
        code = data[position]
        position += 1
        opcodes += 1
        tuples += code in _TUPLES
        if opcodes > OPCODE_LIMIT or tuples > TUPLE_LIMIT:
            raise pickle.UnpicklingError("it has too many objects")
        if code in _PUTS:
            _check_memo(int.from_bytes(data[position : position + _PUTS[code]], "little"), opcodes)
        if code in _FIXED:
            position += _FIXED[code]
        elif code in _COUNTED:
            start = position + _COUNTED[code]
            position = start + int.from_bytes(data[position:start], "little")
        elif code in _LINES:
            position = _skip_lines(data, position, code, opcodes)
        else:
            raise pickle.UnpicklingError(f"the opcode {chr(code)!r} is not allowed")
        if position > len(data):
            raise pickle.UnpicklingError("it ends too early")
        if code == ord("."):
            return
    raise pickle.UnpicklingError("it ends too early")


def _skip_lines(data: bytes, position: int, code: int, opcodes: int) -> int:
    for _ in range(_LINES[code]):
        end = data.find(b"\n", position)
        if end < 0:
            raise pickle.UnpicklingError("it ends too early")
        if code in _NUMBERS and end - position > NUMBER_LIMIT:
            raise pickle.UnpicklingError("it has a number with too many digits")
        if code == ord("p"):
            _check_memo(int(data[position:end]), opcodes)
        position = end + 1
    return position


def _check_memo(index: int, opcodes: int) -> None:
    # Positions count up, from 0 or 1, and each object takes at least one opcode.
    if not 0 <= index <= opcodes:
        raise pickle.UnpicklingError("a position in its memo is too large")
