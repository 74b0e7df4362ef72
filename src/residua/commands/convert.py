"""`residua convert`: weights published elsewhere into ours, and back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua.commands.models import PICKLED
from residua.commands.terminal import EMPHASIS, WARNING, Terminal, place
from residua.errors import BadData, Refused, unknown
from residua.words import harmless, plain

if TYPE_CHECKING:
    from residua.checkpoints import Weights

FOLDERS = ("transformers",)  # styles that are a folder, whose config.json tells what tensors cannot


@dataclass(frozen=True)
class Options:
    """What to make of the weights."""

    network: Annotated[
        str | None,
        Parameter(help="the network that they are of, where no config.json says it"),
    ] = None
    classes_from: Annotated[
        str | None,
        Parameter(metavar="DATA|FILE", help="names of the classes: data, a .txt or a .json list"),
    ] = None
    to: Annotated[
        str | None,
        Parameter(help="the other way: into the names of torchvision, timm, cifar or transformers"),
    ] = None
    out: Annotated[
        str | None,
        Parameter(
            metavar="FILE", help="where to write [NAME.safetensors; transformers: a folder NAME]"
        ),
    ] = None
    force: Annotated[bool, Parameter(negative="", help="replace a file that is there")] = False


USUAL = Options()


def convert(
    weights: str,
    /,
    *,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Turn weights published elsewhere into ours, or ours into what other projects read.

    A pickled file is read in a process of its own that can do nothing else. How pictures become
    the network's input is stored with the weights.

    Args:
        weights: a .safetensors, .pth, .pt or .th file, a folder with config.json and
            model.safetensors, or hf://owner/name to download one; with --to, a run or weights of
            ours
    """
    target = place_for(weights, options)
    if options.to is not None:
        publish(weights, options.to, target, terminal)
        return
    from residua import checkpoints, networks

    if options.network is not None:
        networks.parse(options.network)  # a slip is told before a large file is read
    made, notes = ours(weights, options)
    digest = checkpoints.write_weights(target, made)
    describe(made, target, notes, terminal)
    terminal.say((f"next: residua evaluate {place(target)} DATA", EMPHASIS))
    terminal.answer(
        {
            "weights": str(target),
            "sha256": digest,
            "network": made.network,
            "classes": list(made.classes),
            "preprocessing": made.preprocessing.to_dict(),
            "notes": list(notes),
        }
    )


def place_for(source: str, options: Options) -> Path:
    """Where the result goes.

    Raises:
        Refused: something is there already, or it is not to be a safetensors file.
    """
    path = Path(source.split("@")[0] if "://" in source else source)
    stem = path.absolute().name.removesuffix(path.suffix if is_weights(path) else "")
    ending = "" if options.to in FOLDERS else ".safetensors"
    target = Path(options.out or f"{stem}{f'-{options.to}' if options.to else ''}{ending}")
    if target.suffix != ".safetensors" and options.to not in FOLDERS:
        raise Refused("weights are written as safetensors", f"--out {options.out}")
    if target.exists() and path.exists() and target.samefile(path):
        raise Refused("the result would replace its source", str(target), "give --out FILE")
    if target.exists() and not options.force:
        fix = "give --out FILE, or --force to replace it"
        raise Refused("there is a file already", str(target), fix)
    return target


def is_weights(path: Path) -> bool:
    return path.suffix.lower() in {".safetensors", *PICKLED}


def ours(source: str, options: Options) -> "tuple[Weights, tuple[str, ...]]":
    """Published weights as ours, and what was taken on trust.

    Raises:
        BadData: the file cannot be read, or is not of that network.
        Refused: there is no such network, or the classes are not as many.
    """
    from residua import published
    from residua.networks.unpickle import read_pickled

    path = Path(source)
    if path.is_file() and path.suffix != ".safetensors":
        found = published.Published(read_pickled(path), source)
    else:
        found = published.read(source)
    made, notes = published.ours(found, options.network)
    if options.classes_from is None:
        return made, notes
    names = listed(options.classes_from)
    if len(names) != len(made.classes):
        fix = "give names in the order of the network's outputs"
        what = f"the weights tell {len(made.classes)} classes, and there are {len(names)} names"
        raise Refused(what, f"--classes-from {options.classes_from}", fix)
    notes = tuple(note for note in notes if not note.startswith(published.UNNAMED))
    return replace(made, classes=names), notes


def listed(source: str) -> tuple[str, ...]:
    """Names from a text file with one on each line, from a JSON list, or from data."""
    path = Path(source)
    if path.suffix not in (".txt", ".json"):
        from residua import datasets

        return datasets.load(source).classes
    try:
        text = path.read_text(encoding="utf-8")
        names: Any = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError) as error:
        raise BadData(f"the names cannot be read: {error}", source) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadData("the names are not a list of texts", source)
    return tuple(name.strip() for name in names if name.strip())


def publish(source: str, style: str, target: Path, terminal: Terminal) -> None:
    """Write weights of ours under the names of another project."""
    from residua import checkpoints, durable
    from residua.commands.models import open_model
    from residua.networks.elsewhere import STYLES
    from residua.networks.weights import from_ours

    if style not in STYLES:
        raise unknown("naming style", style, STYLES)
    weights = open_model(source).weights
    data = checkpoints.encode(from_ours(weights.tensors, weights.build(), style))
    notes = [f"{style} does not store the preprocessing: apply it yourself"]
    if style in FOLDERS:
        notes = write_folder(target, weights, data)
    else:
        durable.write(target, data)
    describe(weights, target, notes, terminal)
    terminal.answer(
        {
            "weights": str(target),
            "style": style,
            "network": weights.network,
            "preprocessing": weights.preprocessing.to_dict(),
            "notes": notes,
        }
    )


def write_folder(target: Path, weights: "Weights", data: bytes) -> list[str]:
    """Write `model.safetensors` with its configs; return what they do not say."""
    from residua import durable
    from residua.declared import CONFIG, PICTURES, config_of, pictures_config
    from residua.published import FILE

    tables = {CONFIG: config_of(weights.build(), weights.classes)}
    notes = []
    if pictures := pictures_config(weights.preprocessing):
        tables[PICTURES] = pictures
    else:
        notes.append("transformers has no words for this preprocessing: apply it yourself")
    target.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        durable.write(target / name, (json.dumps(table, indent=1) + "\n").encode())
    durable.write(target / FILE, data)
    return notes


def describe(weights: "Weights", target: Path, notes: Sequence[str], terminal: Terminal) -> None:
    """Tell what the weights are and where, and what was taken on trust."""
    view, names = weights.preprocessing, ", ".join(map(harmless, weights.classes[:10]))
    numbers = f"mean {plain(view.mean[:3])}; deviation {plain(view.std)}"
    terminal.facts(
        [
            ("network", weights.network),
            ("classes", f"{len(weights.classes)}: {names}" + " ..." * (len(weights.classes) > 10)),
            ("pictures", f"{view.size} x {view.size}, {view.fit} from {view.resize}; {numbers}"),
            ("weights", place(target)),
        ]
    )
    for note in notes:
        terminal.say((f"note: {note}", WARNING))
