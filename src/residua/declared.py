"""What a `config.json` beside weights declares: the network, its classes, and how pictures enter.

Two kinds are read: timm's (an `architecture` with `model_args` and `pretrained_cfg`) and that of
transformers' ResNet (`depths`, `layer_type` and `downsample_in_bottleneck`, which tells v1 from
v1.5). Every value is checked before anything is built, and one that would change what the network
computes is refused unless it is what ours does.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from residua.checkpoints import CLASS_LIMIT, read_bytes
from residua.errors import BadData, Refused, suggestion
from residua.images import Preprocessing
from residua.networks.elsewhere import STYLES
from residua.networks.network import Network
from residua.networks.resnet import IMAGENET_BLOCKS
from residua.words import harmless

CONFIG, PICTURES = "config.json", "preprocessor_config.json"
BYTE_LIMIT = 16_000_000  # the names of 100,000 classes take less
EPSILON = 1e-5  # of every norm here that a config can speak of
HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "num_classes": (),
    "in_chans": (3,),
    "drop_rate": (),
    "drop_path_rate": (),
    "zero_init_last": (),
    "global_pool": ("avg",),
    "output_stride": (32,),
    "pretrained": (),
}  # timm's arguments that leave the answers alone; with values, only these do
SQUASHED = 384  # from this size on, ConvNeXt's processor does not crop


class Declared(NamedTuple):
    """What is said of weights; the network's name is ours."""

    network: str
    total: int  # of classes; 0 where nothing says
    classes: tuple[str, ...] = ()
    look: Preprocessing | None = None
    notes: tuple[str, ...] = ()


def declared(folder: Path) -> Declared:
    """Read the `config.json` of a folder.

    Raises:
        BadData: it is malformed, hostile, or of a network that is not here.
    """
    path = folder / CONFIG
    config = table(path)
    if "architecture" in config:
        return of_timm(config, path)
    if config.get("model_type") == "resnet":
        return of_transformers(config, folder)
    kind = harmless(str(config.get("model_type", "nothing that says so"))[:60])
    raise BadData(
        f"config.json is of {kind}, which is not known here",
        where=str(path),
        fix="give one of timm or of transformers' ResNet, or the safetensors file and --network",
    )


def table(path: Path) -> dict[str, Any]:
    """A JSON object, without NaN, without a key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def strange(word: str) -> None:
        raise ValueError(f"{word} is not a number of JSON")

    data = read_bytes(path)
    if len(data) > BYTE_LIMIT:
        raise BadData(f"{len(data):,} bytes are more than any config has", str(path))
    try:
        found = json.loads(data, object_pairs_hook=unique, parse_constant=strange)
    except (ValueError, RecursionError) as error:
        raise BadData(f"malformed: {error}", str(path)) from error
    if not isinstance(found, dict):
        raise BadData("malformed: not a table", str(path))
    return found


def whole(values: Mapping[str, Any], key: str, high: int, path: Path) -> int:
    """A whole number from 0 to `high`; 0 where there is none."""
    value = values.get(key, 0)
    if type(value) is not int or not 0 <= value <= high:
        raise BadData(f"{key} is not a whole number up to {high:,}", f"{path}: {value!r:.60}")
    return value


def fraction(values: Mapping[str, Any], key: str, usual: float, path: Path) -> float:
    value = values.get(key, usual)
    if type(value) not in (int, float) or not 0.05 <= value <= 1:
        raise BadData(f"{key} is not a share from 0.05 to 1", f"{path}: {value!r:.60}")
    return float(value)


def within(values: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    """A table inside another; an empty one where there is none."""
    value = values.get(key) or {}
    if not isinstance(value, dict):
        raise BadData(f"{key} is not a table", f"{path}: {value!r:.60}")
    return value


def named(labels: Sequence[Any], count: int, key: str, path: Path) -> tuple[str, ...]:
    """Names of classes, as many as there are."""
    if not all(isinstance(label, str) for label in labels) or len(labels) != count:
        raise BadData(f"{key} does not name each of {count} classes", str(path))
    return tuple(labels)


def picture(size: int, fit: str, resize: int, numbers: Sequence[Any], path: Path) -> Preprocessing:
    """Preprocessing whose numbers come from outside: mean and deviation."""
    for values in numbers:
        if not isinstance(values, list) or len(values) != 3:
            raise BadData("mean and deviation have 3 values each", f"{path}: {values!r:.60}")
        if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
            raise BadData("mean or deviation is not finite", f"{path}: {values!r:.60}")
    mean, std = (tuple(map(float, values)) for values in numbers)
    try:
        return Preprocessing(size, fit, resize, mean, std)
    except Refused as error:
        raise BadData(error.what, f"{path}: {error.where}", error.fix) from error


# timm.


def of_timm(config: Mapping[str, Any], path: Path) -> Declared:
    """timm's config: the name of a network, and how its pictures were prepared."""
    theirs = str(config["architecture"])[:100]
    known = {name: ours for ours, name in STYLES["timm"].networks.items()}
    if theirs not in known:
        fix = suggestion(theirs, known) or f"known: {', '.join(known)}"
        what = f"no network here computes what timm's {harmless(theirs)} does"
        raise BadData(what, str(path), fix)
    arguments = within(config, "model_args", path)
    for key, value in [*arguments.items(), ("global_pool", config.get("global_pool", "avg"))]:
        if key not in HARMLESS or (HARMLESS[key] and value not in HARMLESS[key]):
            what = f"model_args has {harmless(key)[:60]}, which changes what the network computes"
            raise BadData(what, f"{path}: {value!r:.60}", "there is no such network here")
    found = within(config, "pretrained_cfg", path) or dict(config)
    counts = [whole(part, "num_classes", CLASS_LIMIT, path) for part in (config, found)]
    count = counts[0] or counts[1]
    labels = found.get("label_names") or config.get("label_names") or []
    if not isinstance(labels, list):
        raise BadData("label_names is not a list", str(path))
    look, notes = pictures_of_timm(found, path)
    classes = named(labels, count, "label_names", path) if labels else ()
    return Declared(known[theirs], count, classes, look, notes)


def pictures_of_timm(
    found: Mapping[str, Any], path: Path
) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """How pictures enter, and in what this differs from how they will enter here."""
    shape = found.get("input_size")
    if shape is None or "mean" not in found or "std" not in found:
        return None, ()
    if not isinstance(shape, list) or len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise BadData("input_size is not 3 channels of a square", f"{path}: {shape!r:.60}")
    size = whole({"input_size": shape[1]}, "input_size", 4096, path)
    share, mode = fraction(found, "crop_pct", 0.875, path), found.get("crop_mode", "center")
    fit = "squash" if mode == "squash" and share == 1 else "crop"
    notes = resampled(str(found.get("interpolation", "bilinear")))
    if mode != "center" and fit == "crop":
        notes += (f"crop_mode {harmless(str(mode)[:30])} is not known here: the center is cropped",)
    numbers = (found["mean"], found["std"])
    return picture(size, fit, math.floor(size / share), numbers, path), notes


def resampled(how: str) -> tuple[str, ...]:
    """A note where pictures were resized in another way than here."""
    if how in ("bilinear", "2"):
        return ()
    how = {"0": "nearest", "1": "lanczos", "3": "bicubic"}.get(how, how)
    return (
        f"the network saw pictures resized by {harmless(how[:30])} interpolation; here it is "
        "bilinear, and a few answers will differ",
    )


# transformers.


def of_transformers(config: Mapping[str, Any], folder: Path) -> Declared:
    """The config of transformers' ResNet."""
    path = folder / CONFIG
    fixed = {"embedding_size": 64, "hidden_act": "relu", "downsample_in_first_stage": False}
    fixed |= {"num_channels": 3} | {key: EPSILON for key in config if "eps" in key.lower()}
    for key, ours in fixed.items():
        if (value := config.get(key, ours)) != ours:
            what = f"{harmless(key)[:60]} is not {ours}, so the network computes something else"
            raise BadData(what, f"{path}: {value!r:.60}", "there is no such network here")
    deep = config.get("layer_type", "bottleneck") == "bottleneck"
    widths = [(256 if deep else 64) * 2**stage for stage in range(4)]
    blocks = config.get("depths", [3, 4, 6, 3])
    depth = next(
        (d for d, row in IMAGENET_BLOCKS.items() if blocks == list(row) and (d >= 50) == deep), 0
    )
    if not depth or config.get("hidden_sizes", widths) != widths:
        what = "depths, hidden_sizes and layer_type are those of no network in the paper's table 1"
        raise BadData(what, f"{path}: depths {blocks!r:.60}")
    first = config.get("downsample_in_bottleneck", False)
    if type(first) is not bool:
        raise BadData("downsample_in_bottleneck is not true or false", f"{path}: {first!r:.60}")
    name = f"resnet{depth}" + ("" if not deep else "-v1" if first else "-v1.5")
    labels = within(config, "id2label", path)
    count = len(labels) or whole(config, "num_labels", CLASS_LIMIT, path)
    if count > CLASS_LIMIT or any(str(index) not in labels for index in range(len(labels))):
        raise BadData("id2label does not number the classes from 0 on", str(path))
    classes = named([labels[str(index)] for index in range(len(labels))], count, "id2label", path)
    if all(label == f"LABEL_{index}" for index, label in enumerate(classes)):
        classes = ()  # what transformers writes where nobody named them
    look, notes = pictures_of_transformers(folder / PICTURES)
    return Declared(name, count, classes, look, notes)


def pictures_of_transformers(path: Path) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """The same from the processor's own file, where there is one."""
    if not path.exists():
        return None, ()
    found = table(path)
    size = found.get("size")
    sides = size if isinstance(size, dict) else {"shortest_edge": size}
    side = whole(sides, "shortest_edge" if "shortest_edge" in sides else "height", 4096, path)
    if not side or "image_mean" not in found or "image_std" not in found:
        raise BadData("it does not say size, image_mean and image_std", str(path))
    numbers = (found["image_mean"], found["image_std"])
    notes = resampled(str(found.get("resample", 2)))
    if found.get("crop_pct") is not None:  # ConvNeXt's processor, which ResNet has
        share = fraction(found, "crop_pct", 1, path)
        fit = "crop" if side < SQUASHED else "squash"
        return picture(
            side, fit, int(side / share) if fit == "crop" else side, numbers, path
        ), notes
    if found.get("do_center_crop"):
        crop = found.get("crop_size")
        inner = whole(crop if isinstance(crop, dict) else {"height": crop}, "height", 4096, path)
        return picture(inner, "crop", side, numbers, path), notes
    return picture(side, "squash", side, numbers, path), notes


def config_of(network: Network, classes: Sequence[str]) -> dict[str, Any]:
    """The `config.json` that transformers wants for one of our networks."""
    deep = network.depth >= 50
    return {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "num_channels": network.channels,
        "embedding_size": 64,
        "hidden_sizes": [(256 if deep else 64) * 2**stage for stage in range(4)],
        "depths": list(IMAGENET_BLOCKS[network.depth]),
        "layer_type": "bottleneck" if deep else "basic",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": strides_first(network),
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
    }


def strides_first(network: Network) -> bool:
    """Whether a bottleneck's first 1x1 convolution strides."""
    first = network.get_submodule("features.stage2.0.branch.conv1")
    return network.depth >= 50 and max(getattr(first, "stride", (1,))) > 1


def pictures_config(look: Preprocessing) -> dict[str, Any]:
    """The `preprocessor_config.json` that goes with it; empty where that has no words for ours."""
    fit = "crop" if look.size < SQUASHED else "squash"
    if look.fit != fit or len(look.mean) != 3:
        return {}
    share = look.size / look.resize
    if int(look.size / share) < look.resize:  # rounded down by a hair
        share = math.nextafter(share, 0)
    return {
        "image_processor_type": "ConvNextImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": look.size},
        "crop_pct": share,
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(look.mean),
        "image_std": list(look.std),
    }
