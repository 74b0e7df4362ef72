"""Weights on disk: durable, self-describing, verified before use, and never unpickled.

A weights file is safetensors; its header holds what is needed to use it (`Weights`). A checkpoint
is a folder of two such files and a manifest with the SHA-256 of each:

    checkpoints/391/weights.safetensors    the network
    checkpoints/391/state.safetensors      optimizer, averaged weights, random state
    checkpoints/391/manifest.json          step, digests, and the few numbers that are not tensors
"""

import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as decode_tensors
from safetensors.torch import save as encode_tensors
from torch import Tensor

from residua import durable, networks
from residua.errors import BadData, Refused, ResiduaError
from residua.images import Preprocessing
from residua.networks.network import Network
from residua.pretrained import file_of, is_pretrained
from residua.words import listed

FORMAT = "residua-1"
HEADER_LIMIT = 4_000_000  # bytes
TENSOR_LIMIT = 20_000  # ResNet-1202 has about 7,200
CLASS_LIMIT = 100_000
DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL"}
PARTS = ("weights", "state")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Weights:
    """A network's tensors and what is needed to use them on a picture."""

    tensors: dict[str, Tensor]
    network: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    metrics: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""  # of the file it was read from

    def check(self, classes: tuple[str, ...], data: str) -> None:
        """Raise Refused where the network tells other classes than those of a data set."""
        if self.classes != classes:
            raise Refused(
                f"{self.network} tells other classes than {data} has",
                where=f"{listed(self.classes, 10)}; {listed(classes, 10)}",
                fix="take images of the classes that it was trained on",
            )

    def build(self) -> Network:
        """The network in evaluation mode, with these weights.

        Raises:
            BadData: the tensors are not those of the network.
        """
        network = skeleton(self.network, len(self.classes), self.tensors)
        network.load_state_dict(self.tensors, assign=True)
        return network.eval()


def write_weights(path: Path, weights: Weights) -> str:
    """Write a self-describing weights file durably; return its SHA-256."""
    card = {
        "format": FORMAT,
        "network": weights.network,
        "classes": list(weights.classes),
        "preprocessing": weights.preprocessing.to_dict(),
        "metrics": weights.metrics,
    }
    # One metadata key: safetensors does not keep the order of several, and the digest would vary.
    data = encode(weights.tensors, {"residua": json.dumps(card)})
    durable.write(path, data)
    return hashlib.sha256(data).hexdigest()


def open_weights(source: str | Path) -> Weights:
    """The weights of a run, of a weights file, or of a name in PRETRAINED."""
    path = file_of(str(source)) if is_pretrained(source) else Path(source)
    return read_weights(path / "weights.safetensors" if path.is_dir() else path)


def read_weights(path: Path) -> Weights:
    """Read and check a weights file of ours.

    Raises:
        BadData: the file is missing, malformed, hostile, or describes no network of ours.
    """
    data = read_bytes(path)
    tensors = {name: widened(tensor) for name, tensor in decode(data, path).items()}
    card = metadata(data, path)
    try:
        classes = tuple(str(name) for name in card["classes"])
        if card["format"] != FORMAT or not 1 <= len(classes) <= CLASS_LIMIT:
            raise ValueError(f"format {card['format']}, {len(classes)} classes")
        preprocessing = Preprocessing.from_dict(card["preprocessing"])
        name, metrics = str(card["network"]), dict(card["metrics"])
        skeleton(name, len(classes), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"the header of the weights is malformed: {error}", str(path)) from error
    except ResiduaError as error:
        raise BadData(error.what, where=str(path), fix=error.fix) from error
    digest = hashlib.sha256(data).hexdigest()
    return Weights(tensors, name, classes, preprocessing, metrics, digest)


def widened(tensor: Tensor) -> Tensor:
    """Half precision is a way to store weights, not to compute with them."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def skeleton(name: str, classes: int, tensors: Mapping[str, Tensor]) -> Network:
    """The network `name` without memory for its weights, if `tensors` have its names and shapes.

    Raises:
        BadData: they differ; the message names the first that does.
    """
    if 2 * networks.fewest_layers(name) > len(tensors):
        # a small file must not make us build a billion layers
        raise BadData(f"{len(tensors)} tensors are too few for {name}")
    with torch.device("meta"):
        network = networks.build(name, classes)
    expected = network.state_dict()
    for key in [*expected, *tensors]:
        want, have = (
            f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}"
            if t is not None
            else "nothing"
            for t in (expected.get(key), tensors.get(key))
        )
        if want != have:
            raise BadData(f"the weights do not fit {name}: {key} is {have}, expected {want}")
    return network


def encode(tensors: Mapping[str, Tensor], card: dict[str, str] | None = None) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return encode_tensors(plain, card)


def decode(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, after checks that the format itself leaves out.

    Raises:
        BadData: truncated, oversized, ambiguous, of unknown types, or not finite.
    """
    header = read_header(data, path)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(tensors) > TENSOR_LIMIT:
        raise BadData(f"{len(tensors):,} tensors are more than any network has", str(path))
    types = {str(entry.get("dtype")) for entry in tensors.values() if isinstance(entry, dict)}
    if foreign := types - DTYPES:
        raise BadData(f"the weights have values of type {sorted(foreign)[0]}", str(path))
    try:
        decoded = decode_tensors(data)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise BadData(f"not a valid safetensors file: {error}", str(path)) from error
    for name, tensor in decoded.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise BadData(f"{name} has values that are not finite", str(path))
    return decoded


def read_header(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON header, refused where it is too long or names a tensor twice."""
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else len(data)
    if not 2 <= length <= min(HEADER_LIMIT, len(data) - 8):
        raise BadData("not a safetensors file, or a truncated one", str(path))

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice")
        return dict(pairs)

    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise BadData(f"the header is malformed: {error}", str(path)) from error
    if not isinstance(header, dict):
        raise BadData("the header is malformed: not a table", str(path))
    return header


def metadata(data: bytes, path: Path) -> dict[str, Any]:
    """Our card in the header of a weights file."""
    card = read_header(data, path).get("__metadata__", {})
    try:
        return dict(json.loads(card["residua"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadData(
            "these weights do not say which network they belong to",
            where=str(path),
            fix="name it: residua convert FILE --network NAME",
        ) from error


def read_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would never open
            raise BadData("not a regular file", str(path))
        return path.read_bytes()
    except OSError as error:
        raise BadData(f"cannot read: {error.strerror}", str(path)) from error


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a training, verified."""

    path: Path
    step: int
    weights: dict[str, Tensor]
    state: dict[str, Tensor]
    position: dict[str, Any]  # the numbers that are not tensors
    sha256: dict[str, str]  # of each part


def save(
    folder: Path,
    step: int,
    weights: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    position: Mapping[str, Any],
) -> Path:
    """Write the checkpoint of `step` so that it survives a power cut; return its folder.

    Raises:
        OutOfResources: it could not be written; earlier checkpoints are untouched.
    """
    final, temporary = folder / str(step), folder / f".writing-{step}-{os.getpid()}"
    parts = dict(zip(PARTS, (encode(weights), encode(state)), strict=True))
    manifest = {
        "format": FORMAT,
        "step": step,
        "sha256": {part: hashlib.sha256(data).hexdigest() for part, data in parts.items()},
        "position": dict(position),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        for part, data in parts.items():
            durable.write(temporary / f"{part}.safetensors", data)
        durable.write(temporary / MANIFEST, sealed(manifest))
        load(temporary)  # read back before an older checkpoint may go
        durable.rename_folder(temporary, final)
    except OSError as error:
        raise durable.failed(final, error, sum(map(len, parts.values()))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as JSON with a digest of its own, by which `load` finds a changed bit in it."""
    digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return json.dumps({**manifest, "digest": digest}, indent=1).encode()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and compare it with its digests.

    Raises:
        BadData: it is torn, altered or incomplete.
    """
    manifest = path / MANIFEST
    try:
        data = read_bytes(manifest)
        table = json.loads(data)
        if sealed({key: value for key, value in table.items() if key != "digest"}) != data:
            raise ValueError("it differs from its digest")
        step, position = int(table["step"]), dict(table["position"])
        digests = {part: str(table["sha256"][part]) for part in PARTS}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadData(f"the manifest is malformed: {error}", str(manifest)) from error
    tensors = {}
    for part, expected in digests.items():
        file = path / f"{part}.safetensors"
        data = read_bytes(file)
        if hashlib.sha256(data).hexdigest() != expected:
            raise BadData("the file differs from its digest in the manifest", str(file))
        tensors[part] = decode(data, file)
    return Checkpoint(path, step, tensors["weights"], tensors["state"], position, digests)


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first, by step and never by time."""
    names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
    steps = sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]{,17}", name))
    return [folder / str(step) for step in reversed(steps)]


def latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and what was found on the way to it.

    A broken one is set aside as `<step>.corrupt`, never deleted and never used.
    """
    notes: list[str] = []
    for path in saved(folder):
        try:
            return load(path), notes
        except BadData as error:
            aside = path.with_name(f"{path.name}.corrupt")
            while aside.exists():  # the same step can break again after a resume
                aside = aside.with_name(f"{aside.name}-again")
            os.rename(path, aside)
            notes.append(f"{error.what} ({error.where}): set aside as {aside.name}")
    return None, notes


def prune(folder: Path, keep: int = 2) -> None:
    """Delete all but the `keep` newest checkpoints, and what an interrupted save left behind."""
    abandoned = list(folder.glob(".writing-*"))
    for path in [*saved(folder)[keep:], *abandoned]:
        shutil.rmtree(path, ignore_errors=True)
