"""Read the pickled batches of CIFAR without trusting them.

A pickle is a program. This reader first checks every instruction against a list of harmless ones,
then runs them with stand-ins in place of the seven functions that a batch may name, so that it
can build nothing but byte arrays, strings, integers, lists and dictionaries. Anything else, such
as a call of os.system, is refused before anything is built.
"""

import io
import pickle
import pickletools
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from residua.errors import BadData

SIZE_LIMIT = 1_000_000_000  # bytes; the largest official file, train of CIFAR-100, has 0.16 GB
FEW = 1000  # tuples and states besides calls: an official file has fewer than 20
OPCODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG "
    "LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT "
    "SETITEM SETITEMS GET BINGET LONG_BINGET".split()
)
TUPLES = frozenset("EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3".split())
RARE = TUPLES | {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
MEMO = frozenset("PUT BINPUT LONG_BINPUT MEMOIZE".split())
GLOBALS = {
    ("numpy", "ndarray"): "type",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy._core.numeric", "_frombuffer"): "buffer",
    ("_codecs", "encode"): "encode",
}
FIX = "use the official file, or the binary version of the data set"


def read(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary in a pickle; its values are lists, strings, integers or uint8 arrays.

    Raises BadData for everything else; nothing that the pickle names is imported or called.
    """
    if len(data) > SIZE_LIMIT:
        raise BadData(f"the pickle has {len(data):,} bytes, more than CIFAR has", where, FIX)
    try:
        with warnings.catch_warnings():  # of escapes that no text has: what is wrong is told below
            warnings.simplefilter("ignore", DeprecationWarning)
            _check(data)
            built = _Reader(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(built, dict):
            raise pickle.UnpicklingError(f"a dictionary was expected, not {type(built).__name__}")
        return {_text(key): _plain(value) for key, value in built.items()}
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BadData(f"not a pickled CIFAR batch: {error}", where, FIX) from error


def _check(data: bytes) -> None:
    """Refuse instructions that could call, import or exhaust anything.

    Tuples are counted, because to hash one that is nested ten thousand times breaks the
    interpreter. A tuple that is used up at once, as the arguments of a call, is not counted:
    Python 3 writes each byte string so at protocol 2, and the calls accept flat arguments only.
    """
    rare, previous = 0, ""
    for code, argument, position in pickletools.genops(data):
        if code.name in MEMO:
            if not 0 <= (argument or 0) <= len(data):
                raise pickle.UnpicklingError(f"memory slot {argument} at byte {position}")
            continue
        if code.name in RARE:
            used_up = code.name == "REDUCE" and previous in TUPLES
            rare += -1 if used_up else code.name not in ("GLOBAL", "STACK_GLOBAL")
        elif code.name not in OPCODES:
            raise pickle.UnpicklingError(f"{code.name} at byte {position} is not allowed")
        if rare > FEW:
            raise pickle.UnpicklingError(f"more than {FEW} tuples")
        previous = code.name


class _Reader(pickle.Unpickler):
    """An unpickler that gives a stand-in for each allowed name and refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        return _StandIn(GLOBALS[module, name])


class _StandIn:
    """What an allowed name stands for; it keeps its arguments and does nothing.

    Slots and an own __setstate__: a pickle can set no attribute of it, nor of anything else.
    """

    __slots__ = ("kind", "state")

    def __init__(self, kind: str, state: tuple[Any, ...] = ()) -> None:
        self.kind, self.state = kind, state

    def __call__(self, *arguments: Any) -> Any:
        if not all(_is_flat(argument) for argument in arguments):
            raise pickle.UnpicklingError(f"unusual arguments of {self.kind}")
        if self.kind == "encode":
            return _bytes(arguments[0])
        return _StandIn(f"{self.kind} value", arguments)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.kind == "array value":
            self.state = state
        elif self.kind != "dtype value":  # the state of a type says byte order: bytes have none
            raise pickle.UnpicklingError("a state for something that has none")


def _is_flat(value: Any) -> bool:
    """Whether a value is no container, or a tuple of integers (a shape)."""
    if isinstance(value, tuple):
        return all(isinstance(side, int) for side in value)
    return isinstance(value, (str, bytes, bytearray, int, _StandIn))


def _plain(value: Any) -> Any:
    """A value without stand-ins."""
    if isinstance(value, _StandIn):
        return _array(value)
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, list):
        return [_text(item) if isinstance(item, (bytes, str)) else _integer(item) for item in value]
    if isinstance(value, (str, int)):
        return value
    raise pickle.UnpicklingError(f"a {type(value).__name__} is not part of a batch")


def _array(value: _StandIn) -> NDArray[np.uint8]:
    """A byte array from the state of numpy's reduce (version, shape, type, Fortran order, data)
    or from the arguments of its _frombuffer (data, type, shape, order)."""
    if value.kind == "array value":
        _, shape, dtype, fortran, data = value.state
        order = "F" if fortran else "C"
    elif value.kind == "buffer value":
        data, dtype, shape, order = value.state
    else:
        raise pickle.UnpicklingError("a type where an array was expected")
    kind = _text(dtype.state[0]) if isinstance(dtype, _StandIn) and dtype.state else "unknown"
    if kind not in ("u1", "|u1", "uint8"):
        raise pickle.UnpicklingError(f"an array of type {kind}, not of bytes")
    flat = np.frombuffer(_bytes(data), dtype=np.uint8)
    return flat.reshape(tuple(_integer(side) for side in shape), order="F" if order == "F" else "C")


def _bytes(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("latin1")
    raise pickle.UnpicklingError(f"bytes were expected, not {type(value).__name__}")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise pickle.UnpicklingError(f"a string was expected, not {type(value).__name__}")


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return value
    raise pickle.UnpicklingError(f"an integer was expected, not {type(value).__name__}")
