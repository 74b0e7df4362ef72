"""Weights that others published, read and made ours: a file, a folder, or a place on the hub.

    resnet50.safetensors            names and numbers; which network they are of has to be said
    folder/                         config.json and model.safetensors, as the hub's snapshots are
    hf://owner/name[@revision]      downloaded first, with the extra `hub`

What such weights leave open is resolved where the tables of networks/elsewhere.py settle it, and
told in a note; a contradiction is refused. Nothing here unpickles: `residua convert` does.
"""

import importlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from residua import checkpoints, networks
from residua.checkpoints import Weights
from residua.declared import CONFIG, PICTURES, Declared, declared
from residua.errors import BadData, OutOfResources, Refused
from residua.images import Preprocessing
from residua.networks.network import Network
from residua.networks.recognize import network_for
from residua.networks.strides import agree, strided
from residua.networks.unpickle import is_pickled
from residua.networks.weights import (
    assumption,
    classes_among,
    shapes,
    style_of,
    tensors,
    to_ours,
)  # fmt: skip
from residua.pretrained import is_pretrained
from residua.words import harmless

FILE, INDEX, PICKLED_FILE = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
HUB = "hf://"
CIFAR10 = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
# Nearly all published weights take images in 0..1 with the mean and deviation of ImageNet.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
UNNAMED = "the classes are not named"


@dataclass(frozen=True)
class Published:
    """Tensors by the names of others, and what is said of them."""

    tensors: dict[str, Tensor]
    source: str
    said: Declared | None = None


def is_published(path: Path) -> bool:
    """Whether a folder looks like one of the hub's, or like its cache of one."""
    names = (CONFIG, FILE, INDEX, PICKLED_FILE, "snapshots")
    return path.is_dir() and any((path / name).exists() for name in names)


def read(source: str) -> Published:
    """Read a safetensors file, a folder, or a place on the hub.

    Raises:
        BadData: what is there is malformed or hostile.
        Refused: it is pickled, in several files, or ours already.
        OutOfResources: it could not be downloaded.
    """
    path = download(source) if source.startswith(HUB) else Path(source)
    if path.is_dir():
        return read_folder(snapshot(path), source)
    return Published(read_file(path), source)


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file of others."""
    data = checkpoints.read_bytes(path)
    if is_pickled(data) and path.suffix != ".safetensors":
        fix = f"convert it once: residua convert {harmless(str(path))} --network NAME"
        raise Refused("a pickled file is a program, and is not opened here", str(path), fix)
    if is_ours(data, path):
        raise Refused("these weights are ours already", str(path), "give --to to publish them")
    return tensors(checkpoints.decode(data, path))


def is_ours(data: bytes, path: Path) -> bool:
    """Whether the header of a safetensors file says that it is ours."""
    card = checkpoints.read_header(data, path).get("__metadata__")
    return isinstance(card, dict) and "residua" in card


def snapshot(folder: Path) -> Path:
    """The folder itself, or the only snapshot in the hub's cache of one repository."""
    if not (folder / "snapshots").is_dir() or (folder / CONFIG).exists():
        return folder
    found = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
    if len(found) != 1:
        fix = f"give one: {', '.join(map(str, found[:3]))}" if found else "download it again"
        raise Refused(f"{len(found)} snapshots are in this folder", str(folder), fix)
    return found[0]


def read_folder(folder: Path, source: str) -> Published:
    """A folder with `config.json` and `model.safetensors`.

    Raises:
        Refused: the weights are there in another form only.
    """
    if not (folder / FILE).exists():
        if (folder / INDEX).exists():
            fix = "save them as one file, with save_pretrained(..., max_shard_size='50GB')"
            raise Refused("the weights are in several files", str(folder / INDEX), fix)
        if (folder / PICKLED_FILE).exists():
            path = folder / PICKLED_FILE
            fix = f"convert it once: residua convert {harmless(str(path))} --network NAME"
            raise Refused("the only weights there are pickled", str(path), fix)
        raise BadData(f"there is no {FILE}", where=str(folder))
    said = declared(folder)  # before a large file is read
    return Published(read_file(folder / FILE), source, said)


def download(source: str) -> Path:
    """Bring a repository's config and weights from the hub, because this was asked for.

    Raises:
        Refused: the address is malformed, or the extra is missing.
        OutOfResources: no connection, or no such repository.
    """
    address = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", source)
    if address is None:
        raise Refused("not an address on the hub", source, "write hf://owner/name[@revision]")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        fix = 'pip install "residua[hub]"'
        raise Refused("downloading needs an extra that is missing", source, fix) from error
    try:
        wanted = [CONFIG, PICTURES, FILE]
        return Path(hub.snapshot_download(address[1], revision=address[2], allow_patterns=wanted))
    except (OSError, ValueError, RuntimeError) as error:
        reason = harmless((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise OutOfResources(f"cannot download: {reason}", source) from error


def ours(found: Published, network: str | None) -> tuple[Weights, tuple[str, ...]]:
    """Published weights as ours, and notes on what was taken on trust.

    Args:
        found: what was read.
        network: of which they are, where nothing else says so.

    Raises:
        BadData: the weights are not of that network, or not finite.
        Refused: it is not said which network, or two are.
    """
    name, notes = settled(found, network)
    try:
        count = counted(found, name)
        built = networks.weightless(name, count)
        converted = to_ours(found.tensors, built)
    except BadData as error:
        where = f"{found.source}: {error.where}" if error.where else found.source
        raise BadData(error.what, where, error.fix) from error
    notes = [*notes, *rounded(converted)]
    converted = {
        key: value.float() if value.is_floating_point() else value
        for key, value in converted.items()
    }
    for key, value in converted.items():
        if not value.isfinite().all():  # float64 may end here too
            raise BadData(f"{key} has values that are not finite", found.source)
        if key.endswith("running_var") and value.min() < 0:
            raise BadData(f"{key} has a negative variance", found.source)
    classes, look, assumed = told(found, built, count)
    return Weights(converted, name, classes, look), (*notes, *assumed)


def settled(found: Published, network: str | None) -> tuple[str, list[str]]:
    """The network that weights are of, and what was taken on trust to say so."""
    if network is not None and 2 * networks.parse(network)[1] > len(found.tensors):
        # a small file must not make us build a billion layers
        raise BadData(f"{len(found.tensors)} tensors are too few for {network}", found.source)
    if found.said is not None:
        said = found.said.network
        if network is not None and not agree(network, said):
            fix = f"leave out --network, or give {said}"
            raise Refused(f"they are of {said}, not of {network}", found.source, fix)
        return said, list(found.said.notes)
    if network is None:
        fitting = network_for(shapes(found.tensors)).partition(" ")[0]
        fix = f"{fitting} would fit: add --network {fitting}" if fitting else "add --network NAME"
        what = "--network is missing: the file does not say what it is of"
        raise Refused(what, found.source, fix + "; residua list networks")
    built = networks.weightless(network)
    style = style_of(found.tensors, built)
    network, notes = strided(network, style, found.source)
    if built.auxiliary and not any("aux" in name for name in found.tensors):
        network += "-auxiliary=no"
        notes.append(f"the file has no auxiliary heads: taken for {network}")
    doubt = assumption(networks.weightless(network), style)
    return network, [*notes, doubt] if doubt else notes


def counted(found: Published, name: str) -> int:
    """How many classes the weights tell, which has to be as many as their config says.

    Raises:
        BadData: it is not, or there are too many.
    """
    built = networks.weightless(name)
    count = classes_among(found.tensors, built)
    if not 1 <= count <= checkpoints.CLASS_LIMIT:
        raise BadData(f"a network of {count:,} classes")
    if found.said is not None and found.said.total not in (0, count):
        what = f"{CONFIG} tells {found.said.total} classes, and the weights tell {count}"
        raise BadData(what)
    return count


def rounded(converted: dict[str, Tensor]) -> list[str]:
    """A note where numbers were stored in another precision than ours."""
    kinds = {str(value.dtype) for value in converted.values() if value.is_floating_point()}
    others = sorted(kind.removeprefix("torch.") for kind in kinds - {"torch.float32"})
    return [f"the weights are stored as {', '.join(others)}; here they are float32"] * bool(others)


def told(
    found: Published, network: Network, count: int
) -> tuple[tuple[str, ...], Preprocessing, list[str]]:
    """The names of the classes and the way of pictures, as far as said, with notes on the rest."""
    notes = []
    classes = found.said.classes if found.said else ()
    family, *_ = networks.parse(network.name)
    small = family.size <= 32
    if not classes and small and count == len(CIFAR10):
        classes = CIFAR10
        notes.append(f"{UNNAMED}: those of CIFAR-10 are taken")
    elif not classes:
        classes = unnamed(count)
        notes.append(f"{UNNAMED}: they are numbered")
    look = found.said.look if found.said else None
    if look is None:
        look = Preprocessing(family.size, "crop", family.size if small else 256, MEAN, STD)
        if network.name.startswith("googlenet"):  # torchvision's own weights want it so
            look = replace(look, mean=HALF, std=HALF)
        notes.append("nothing says how pictures were prepared: the usual way is taken")
    return classes, look, notes


def unnamed(count: int) -> tuple[str, ...]:
    """Names for classes without one, which no data set has by accident."""
    return tuple(f"class {index}" for index in range(count))


class Start(NamedTuple):
    """What a training begins with."""

    weights: Weights
    notes: tuple[str, ...] = ()
    foreign: bool = False  # then the network that was asked for may have been named more closely


def start_from(source: str, network: str | None) -> Start:
    """The weights of a run, of a file of ours, or published ones.

    Args:
        source: a path, or hf://owner/name.
        network: what a file that does not say so is of.

    Raises:
        BadData, Refused, OutOfResources: as `read` and `ours`.
    """
    path = Path(source)
    if not source.startswith(HUB) and not is_published(path):
        if path.is_dir() or is_pretrained(source):
            return Start(checkpoints.open_weights(source))
        data = checkpoints.read_bytes(path)
        if not is_pickled(data) and is_ours(data, path):
            return Start(checkpoints.read_weights(path))
    return Start(*ours(read(source), network), foreign=True)
