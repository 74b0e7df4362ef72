"""Weights and checkpoints: whole or refused, whatever happens to the disk or comes from outside."""

import errno
import json
import os
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as encode_tensors
from test_durable import Recorder, failure_at, largest_file, names
from torch import Tensor

from residua import checkpoints, networks
from residua.checkpoints import Weights, decode, latest, load, prune, read_weights, save, saved
from residua.errors import BadData, OutOfResources
from residua.images import Preprocessing

POSITION = {"step": 7, "seconds": 1.25, "loss": 0.1 + 0.2, "best": None, "plan": {"steps": 9}}


def parts(seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    weights = {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator).to(
            memory_format=torch.channels_last
        ),
        "norm.count": torch.tensor(5),
    }
    state = {"random": torch.arange(40, dtype=torch.uint8) + seed, "step": torch.tensor(3.0)}
    return weights, state


def keep(folder: Path, step: int) -> Path:
    return save(folder, step, *parts(step), {**POSITION, "step": step})


def test_a_checkpoint_comes_back_as_it_went(tmp_path: Path) -> None:
    path = keep(tmp_path / "checkpoints", 7)
    assert path == tmp_path / "checkpoints" / "7"
    assert names(path) == {"weights.safetensors", "state.safetensors", "manifest.json"}
    found = load(path)
    assert (found.step, found.position, found.path) == (7, POSITION, path)
    for given, back in zip(parts(7), (found.weights, found.state), strict=True):
        assert given.keys() == back.keys()
        assert all(torch.equal(given[key], back[key]) for key in given)
        assert all(given[key].dtype == back[key].dtype for key in given)


def test_equal_tensors_have_equal_digests(tmp_path: Path) -> None:
    """Whatever the order of their names, the folder, the step or the memory format."""
    weights, state = parts()
    first = load(save(tmp_path / "a", 1, weights, state, POSITION))
    plain = {name: tensor.contiguous() for name, tensor in reversed(weights.items())}
    second = load(save(tmp_path / "b", 2, plain, state, POSITION))
    assert first.sha256 == second.sha256


def test_the_order_of_writing_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part, then the manifest: flushed, named; the folder: flushed, named, parent flushed."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    recorder = Recorder(monkeypatch)
    final = keep(folder, 7)
    temporary = str(folder / f".writing-7-{os.getpid()}")
    files = ("weights.safetensors", "state.safetensors", "manifest.json")

    for file, calls in zip(files, zip(*[iter(recorder.calls[:9])] * 3, strict=True), strict=True):
        (flush, written), (rename, pair), folder_flush = calls
        assert (flush, rename) == ("flush", "rename")
        assert pair == f"{written} -> {temporary}/{file}"
        assert folder_flush == ("flush", temporary)
    assert recorder.calls[9:] == [
        ("flush", temporary),
        ("rename", f"{temporary} -> {final}"),
        ("flush", str(folder)),
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_any_failing_call_leaves_earlier_checkpoints_and_no_debris(
    tmp_path: Path, code: int
) -> None:
    earlier = load(keep(tmp_path, 1)).sha256
    for count in range(1, 100):
        with failure_at(count, code) as left:
            try:
                keep(tmp_path, 2)
            except OutOfResources as error:
                assert os.strerror(code) in error.what and error.exit_code == 4
            else:
                assert left[0] > 0, "a failure was not reported"
                break
        assert load(tmp_path / "1").sha256 == earlier
        assert names(tmp_path) <= {"1", "2"}
        newest, notes = latest(tmp_path)
        assert newest is not None and notes == []  # 2 is absent or whole
        for path in saved(tmp_path)[:-1]:
            path.rename(tmp_path.parent / f"{tmp_path.name}-{count}")
    assert count > 12


@pytest.mark.parametrize("size", [0, 100, 400])
def test_a_full_disk_leaves_earlier_checkpoints_and_no_debris(tmp_path: Path, size: int) -> None:
    keep(tmp_path, 1)
    with largest_file(size), pytest.raises(OutOfResources) as error:
        keep(tmp_path, 2)
    assert "MB needed" in error.value.where and "MB free" in error.value.where
    assert names(tmp_path) == {"1"}
    assert latest(tmp_path)[0] is not None


def test_a_step_that_is_already_there_is_not_overwritten(tmp_path: Path) -> None:
    before = load(keep(tmp_path, 1)).sha256
    with pytest.raises(OutOfResources):
        save(tmp_path, 1, *parts(9), POSITION)
    assert load(tmp_path / "1").sha256 == before
    assert names(tmp_path) == {"1"}


def damaged(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Files of a checkpoint with one bit flipped, cut short or emptied, at random places."""
    dice = random.Random(0)
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for _ in range(60):
            bit = dice.randrange(len(data) * 8)
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            yield path, bytes(flipped)
        for length in {0, 1, 8, len(data) - 1, *(dice.randrange(len(data)) for _ in range(20))}:
            yield path, data[:length]
        yield path, data + b"\0"


def test_every_flipped_bit_and_every_truncation_is_found(tmp_path: Path) -> None:
    folder = keep(tmp_path, 7)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    tried = 0
    for path, data in damaged(folder):
        path.write_bytes(data)
        with pytest.raises(BadData):
            load(folder)
        path.write_bytes(whole[path])
        tried += 1
    assert tried > 200
    load(folder)


@pytest.mark.parametrize("file", ["weights.safetensors", "state.safetensors", "manifest.json"])
def test_parts_of_another_step_and_missing_parts_are_found(tmp_path: Path, file: str) -> None:
    first, second = keep(tmp_path, 1), keep(tmp_path, 2)
    (second / file).unlink()
    with pytest.raises(BadData) as bad:
        load(second)
    assert file in bad.value.where
    (second / file).write_bytes((first / file).read_bytes())
    with pytest.raises(BadData, match="differs"):
        load(second)


def test_a_broken_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path: Path) -> None:
    for step in (1, 20, 3):
        keep(tmp_path, step)
    assert [path.name for path in saved(tmp_path)] == ["20", "3", "1"]
    for turn in range(3):  # the same step can break again after a resume
        weights = tmp_path / "20" / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        found, notes = latest(tmp_path)
        assert found is not None and found.step == 3
        assert len(notes) == 1 and "20.corrupt" in notes[0] and str(weights) in notes[0]
        assert len([name for name in names(tmp_path) if "corrupt" in name]) == turn + 1
        keep(tmp_path, 20)
    newest, notes = latest(tmp_path)
    assert newest is not None and (newest.step, notes) == (20, [])


def test_without_a_whole_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert latest(tmp_path) == (None, [])
    assert latest(tmp_path / "nowhere") == (None, [])
    (tmp_path / "5").mkdir()
    (tmp_path / "6").write_text("a file")
    (tmp_path / "²").mkdir()
    (tmp_path / "007").mkdir()
    found, notes = latest(tmp_path)
    assert found is None and len(notes) >= 2
    assert {"5.corrupt", "6.corrupt"} <= names(tmp_path)


def test_prune_keeps_the_two_newest_and_what_is_not_its_own(tmp_path: Path) -> None:
    for step in (9, 10, 100, 11):
        keep(tmp_path, step)
    for path in tmp_path.iterdir():  # age is no argument: the oldest file is the newest step
        os.utime(path, (0, 2_000_000_000 - int(path.name)))
    (tmp_path / "8.corrupt").mkdir()
    (tmp_path / ".writing-12-1").mkdir()
    prune(tmp_path)
    assert names(tmp_path) == {"100", "11", "8.corrupt"}
    prune(tmp_path)
    assert names(tmp_path) == {"100", "11", "8.corrupt"}


# Weights files ------------------------------------------------------------------------------------


def weights(name: str = "resnet8-cifar", classes: int = 3) -> Weights:
    tensors = networks.build(name, classes).state_dict()
    labels = tuple(f"class {index} <é>" for index in range(classes))
    preprocessing = Preprocessing(8, "squash", 9, (0.1, 0.2, 0.3), (0.5, 0.5, 0.25))
    return Weights(tensors, name, labels, preprocessing, {"error": 0.25})


def test_weights_say_all_that_is_needed_to_use_them(tmp_path: Path) -> None:
    given, path = weights(), tmp_path / "weights.safetensors"
    digest = checkpoints.write_weights(path, given)
    back = read_weights(path)
    fields = ("network", "classes", "preprocessing", "metrics")
    assert [getattr(back, f) for f in fields] == [getattr(given, f) for f in fields]
    assert back.sha256 == digest
    network = back.build()
    assert not network.training
    state = network.state_dict()
    assert all(torch.equal(state[key], given.tensors[key]) for key in given.tensors)
    assert checkpoints.write_weights(tmp_path / "again", given) == digest
    assert checkpoints.open_weights(tmp_path).sha256 == digest


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str = "F32", shape: tuple[int, ...] = (1,), end: int = 4) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [0, end]}


TWICE = b'{"a": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "a": {"dtype":"F32","shape":[1],'
CRAFTED = {
    "empty": b"",
    "short": b"\x01\x02",
    "no header": raw(b""),
    "header beyond the end": raw({}, length=1_000),
    "huge header": raw({}, length=2**63),
    "long header": raw(b" " * 5_000_000),
    "not JSON": raw(b"{]"),
    "not a table": raw([1, 2]),
    "deep": raw(b"[" * 1_000_000),
    "deep table": raw(b'{"a":' * 500_000),
    "long number": raw(b'{"a": ' + b"1" * 100_000 + b"}"),
    "name twice": raw(TWICE + b'"data_offsets":[0,4]}}', bytes(4)),
    "unknown type": raw({"a": entry("F8_E4M3", end=1)}, bytes(1)),
    "no type": raw({"a": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "entry of another kind": raw({"a": 5}),
    "overlapping": raw({"a": entry(), "b": entry()}, bytes(4)),
    "shape overflows": raw({"a": entry(shape=(2**62, 8))}, bytes(4)),
    "negative shape": raw({"a": entry(shape=(-1,))}, bytes(4)),
    "too little data": raw({"a": entry(shape=(100,), end=400)}, bytes(4)),
    "too much data": raw({"a": entry()}, bytes(400)),
    "NaN": encode_tensors({"a": torch.tensor([1.0, float("nan")])}),
    "infinity": encode_tensors({"a": torch.tensor([float("inf")], dtype=torch.bfloat16)}),
    "many tensors": raw({f"{i:x}": {} for i in range(200_000)}),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a zip": b"PK\x03\x04" + bytes(1_000),
    "UTF-16": raw("{}".encode("utf-16")),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_hostile_tensors_are_refused_quickly(name: str) -> None:
    path, began = Path("some.safetensors"), time.monotonic()
    with pytest.raises(BadData) as bad:
        decode(CRAFTED[name], path)
    assert time.monotonic() - began < 5
    assert bad.value.where == "some.safetensors" and len(bad.value.what) < 400


def test_a_million_tensors_are_refused_quickly() -> None:
    header = b"{" + b",".join(b'"%x":0' % index for index in range(1_000_000)) + b"}"
    began = time.monotonic()
    with pytest.raises(BadData):
        decode(raw(header), Path("a"))
    assert time.monotonic() - began < 5


GOOD = weights()
CARD: dict[str, Any] = {
    "format": "residua-1",
    "network": GOOD.network,
    "classes": list(GOOD.classes),
    "preprocessing": GOOD.preprocessing.to_dict(),
    "metrics": {},
}
LOOK = CARD["preprocessing"]
CARDS: dict[str, Any] = {
    "no such network": CARD | {"network": "resnet21-cifar"},
    "another network": CARD | {"network": "resnet8-cifar-c"},
    "a deeper network": CARD | {"network": "resnet14-cifar"},
    "a billion layers": CARD | {"network": "resnet1000000000-cifar"},
    "a network of many digits": CARD | {"network": f"resnet{'9' * 5_000}-cifar"},
    "no network": CARD | {"network": None},
    "no classes": CARD | {"classes": []},
    "another number of classes": CARD | {"classes": ["a", "b"]},
    "too many classes": CARD | {"classes": [""] * 200_000},
    "classes of another kind": CARD | {"classes": 7},
    "another format": CARD | {"format": "residua-0"},
    "size 0": CARD | {"preprocessing": LOOK | {"size": 0}},
    "size of a million": CARD | {"preprocessing": LOOK | {"size": 10**6, "resize": 10**6}},
    "deviation 0": CARD | {"preprocessing": LOOK | {"std": [1, 1, 0]}},
    "deviation NaN": CARD | {"preprocessing": LOOK | {"std": [1, 1, float("nan")]}},
    "no preprocessing": {k: v for k, v in CARD.items() if k != "preprocessing"},
    "preprocessing of another kind": CARD | {"preprocessing": [1, 2]},
    "metrics of another kind": CARD | {"metrics": 5},
    "a list": [CARD],
    "a number": 5,
}


@pytest.mark.parametrize("name", CARDS)
def test_hostile_cards_are_refused_quickly(tmp_path: Path, name: str) -> None:
    path, began = tmp_path / "w.safetensors", time.monotonic()
    path.write_bytes(checkpoints.encode(GOOD.tensors, {"residua": json.dumps(CARDS[name])}))
    with pytest.raises(BadData) as bad:
        read_weights(path)
    assert time.monotonic() - began < 5
    assert bad.value.where == str(path)


@pytest.mark.parametrize(
    "metadata", [None, {"other": "x"}, {"residua": "{"}, {"residua": "[" * 100_000}]
)
def test_weights_without_a_card_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(checkpoints.encode(GOOD.tensors, metadata))
    with pytest.raises(BadData) as bad:
        read_weights(path)
    assert bad.value.fix == "name it: residua convert FILE --network NAME"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head.bias": None}, "nothing"),
        ({"head.bias": torch.zeros(4)}, "float32 (4,), expected float32 (3,)"),
        ({"head.bias": torch.zeros(3, dtype=torch.float64)}, "float64 (3,)"),
        ({"extra": torch.zeros(1)}, "extra is float32 (1,), expected nothing"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, change: dict[str, Tensor | None], words: str
) -> None:
    head = next(name for name in GOOD.tensors if name.startswith("head") and "bias" in name)
    change = {head if name == "head.bias" else name: value for name, value in change.items()}
    tensors = {k: v for k, v in (GOOD.tensors | change).items() if v is not None}
    path = tmp_path / "w.safetensors"
    path.write_bytes(checkpoints.encode(tensors, {"residua": json.dumps(CARD)}))
    with pytest.raises(BadData) as bad:
        read_weights(path)
    assert "do not fit resnet8-cifar" in bad.value.what and words in bad.value.what


def test_a_network_as_deep_as_its_tensors_are_many_is_refused_quickly(tmp_path: Path) -> None:
    tensors = {f"t{index}": torch.zeros(0) for index in range(19_999)}
    card = CARD | {"network": "resnet19994-cifar"}
    path, began = tmp_path / "w.safetensors", time.monotonic()
    path.write_bytes(checkpoints.encode(tensors, {"residua": json.dumps(card)}))
    with pytest.raises(BadData):
        read_weights(path)
    assert time.monotonic() - began < 5


def test_files_that_cannot_be_read_are_bad_data(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path / "pipe", Path("/dev/zero"), tmp_path / "a" / "b"):
        with pytest.raises(BadData) as bad:
            read_weights(path)
        assert bad.value.where == str(path)
    with pytest.raises(BadData):
        checkpoints.open_weights(tmp_path)
