"""The restricted pickle reader: every protocol of honest batches, none of the hostile ones."""

import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua.datasets import pickles
from residua.errors import BadData

PROTOCOLS = range(6)
ARRAY = np.arange(256, dtype=np.uint8).reshape(4, 64)
BATCH = {"data": ARRAY, "labels": [0, 1, 2, 3], "batch_label": "one", "filenames": ["a", "b"]}


def python2_batch() -> bytes:
    """What Python 2 with numpy wrote for {"data": array, "labels": [...]} at protocol 2."""
    raw = ARRAY.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x04K@\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x00K\x01K\x02K\x03eu."


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_a_batch_of_each_protocol(protocol: int) -> None:
    read = pickles.read(pickle.dumps(BATCH, protocol), "batch")
    assert np.array_equal(read.pop("data"), ARRAY)
    assert read == {key: value for key, value in BATCH.items() if key != "data"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_thousands_of_byte_strings(protocol: int) -> None:
    names = [f"{index}.png" for index in range(3000)]
    batch = {"data": ARRAY, "filenames": [name.encode() for name in names], "labels": []}
    read = pickles.read(pickle.dumps(batch, protocol), "batch")
    assert read["filenames"] == names


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_bytes_for_keys_and_fortran_order(protocol: int) -> None:
    batch = {b"data": np.asfortranarray(ARRAY), b"labels": [1], b"filenames": [b"x"]}
    read = pickles.read(pickle.dumps(batch, protocol), "batch")
    assert np.array_equal(read["data"], ARRAY)
    assert read["filenames"] == ["x"]


def test_reads_a_batch_of_python_2() -> None:
    read = pickles.read(python2_batch(), "batch")
    assert np.array_equal(read["data"], ARRAY)
    assert read["labels"] == [0, 1, 2, 3]


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def hostile(canary: Path) -> dict[str, Any]:
    import builtins
    import os
    import subprocess

    return {
        "system": Call(os.system, f"touch {canary}"),
        "popen": Call(subprocess.getoutput, f"touch {canary}"),
        "eval": Call(eval, f"open({str(canary)!r}, 'w')"),
        "open": Call(open, str(canary), "w"),
        "getattr": Call(builtins.getattr, "x", "join"),
        "inside": {"data": [Call(os.system, f"touch {canary}")]},
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["system", "popen", "eval", "open", "getattr", "inside"])
def test_no_code_is_run(kind: str, protocol: int, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = pickle.dumps({"data": hostile(canary)[kind]}, protocol)
    with pytest.raises(BadData, match="asks for"):
        pickles.read(data, "batch")
    assert not canary.exists()


CRAFTED = {
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'true'\no.",
    "newobj": b"\x80\x02cos\nsystem\n)\x81.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"P1\n.",
    "out of band buffer": b"\x80\x05\x97.",
    "huge memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "huge bytes": b"\x80\x04\x8e" + b"\xff" * 8 + b".",
    "huge bytearray": b"\x80\x05\x96" + b"\xff" * 7 + b"\x00.",
    "huge array": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R"
    b"(K\x01J\xff\xff\xff\x7f\x85NNNtb.",
    "set an attribute of a name": b"\x80\x02c_codecs\nencode\nN}X\x01\x00\x00\x00xK\x01s\x86b.",
    "state of a type itself": b"\x80\x02cnumpy\ndtype\n(K\x01tb.",
    "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b"K\x01d.",
    "deep tuples between calls": b"\x80\x02c_codecs\nencode\nq\x00"
    b"X\x01\x00\x00\x00aX\x01\x00\x00\x00a\x86q\x01)" + b"\x85h\x00h\x01R0" * 100_000 + b"K\x01d.",
    "deep tuples as arguments": b"\x80\x02cnumpy\ndtype\nq\x00)"
    + b"\x85q\x01h\x00h\x01\x85R0" * 100_000
    + b".",
    "deep lists": b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
    "unhashable key": b"\x80\x02}]K\x01s.",
    "not a dictionary": b"\x80\x02K\x01.",
    "stand-in as a key": b"\x80\x02}cnumpy\ndtype\nK\x01s.",
    "float array": pickle.dumps({"data": np.zeros(3)}, 2),
    "object array": pickle.dumps({"data": np.array([None])}, 2),
    "numpy scalar": pickle.dumps({"labels": [np.int64(3)]}, 2),
    "float": pickle.dumps({"labels": [1.5]}, 2),
    "set": pickle.dumps({"labels": {1}}, 4),
    "tuple": pickle.dumps({"labels": (1,)}, 2),
    "nested": pickle.dumps({"labels": {"a": 1}}, 2),
    "empty": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_refuses_what_is_no_batch(name: str) -> None:
    with pytest.raises(BadData, match="not a pickled CIFAR batch"):
        pickles.read(CRAFTED[name], "batch")


def test_refuses_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "SIZE_LIMIT", 10)
    with pytest.raises(BadData, match="more than CIFAR"):
        pickles.read(pickle.dumps(BATCH), "batch")


def test_cut_off_anywhere_is_refused() -> None:
    data = python2_batch()
    for end in range(len(data)):
        with pytest.raises(BadData):
            pickles.read(data[:end], "batch")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_gives_data_or_bad_data(data: st.DataObject) -> None:
    """A changed byte may change values, but never gives another error or another type."""
    source = bytearray(pickle.dumps(BATCH, data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 4))):
        source[data.draw(st.integers(0, len(source) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = pickles.read(bytes(source), "batch")
    except BadData:
        return
    assert all(isinstance(value, (str, int, list, np.ndarray)) for value in read.values())


def test_the_allowed_instructions_exist() -> None:
    known = {code.name for code in pickletools.opcodes}
    assert known >= pickles.OPCODES | pickles.RARE | pickles.MEMO
    assert not {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1"} & (pickles.OPCODES | pickles.RARE)


def test_stand_ins_keep_no_state_between_files() -> None:
    assert pickles.read(pickle.dumps(BATCH, 2), "a").keys() == BATCH.keys()
    with pytest.raises(BadData):
        pickles.read(CRAFTED["set an attribute of a name"], "b")
    assert not hasattr(pickles._StandIn, "x")
    assert np.array_equal(pickles.read(pickle.dumps(BATCH, 2), "c")["data"], ARRAY)
