"""Which network a file of weights is of, read from the names and shapes of its tensors.

Nothing is searched: stages, blocks, widths and norms are counted, which gives one name or, where
tensors cannot tell, the name that published weights most often have.
"""

import re
from collections import Counter
from collections.abc import Mapping

from residua.errors import Refused
from residua.networks import NETWORKS, parse, weightless
from residua.networks.elsewhere import STYLES, Names
from residua.networks.naming import Choice, Counts, written
from residua.networks.renaming import ours_of, places
from residua.networks.resnet import IMAGENET_BLOCKS

Shapes = Mapping[str, tuple[int, ...]]

COUNTER = "num_batches_tracked"  # old files lack it, and no result depends on it
BLOCK = r"features\.stage(\d+)\.(\d+)\."


def network_for(given: Shapes, wanted: str = "") -> str:
    """The network that has such tensors, with its classes and channels in words; "" for none.

    Args:
        given: shapes by the names of a published file.
        wanted: a network whose kind is preferred where tensors cannot tell.
    """
    for style, names in tables():
        ours = translated(given, names)
        for name in candidates(ours, wanted) if ours else ():
            classes, channels = ends(ours)
            if fits(given, style, name, classes, channels):
                return f"{name} with {classes} classes and {channels} channels"
    return ""


def tables() -> list[tuple[str, Names]]:
    """Every table of names, with its style."""
    return [
        (style, names)
        for style, row in STYLES.items()
        for names in dict.fromkeys(row.names.values())
    ]


def translated(given: Shapes, names: Names) -> dict[str, tuple[int, ...]]:
    """Shapes by our names, as far as a file's names tell them; nothing if one has no meaning."""
    modules = {name.rpartition(".")[0] for name in given}
    ours = {module: ours_of(module, names) for module in modules}
    if not all(ours.values()):
        return {}
    return {
        f"{ours[module]}.{last}": shape
        for name, shape in given.items()
        for module, _, last in (name.rpartition("."),)
    }


def ends(ours: Shapes) -> tuple[int, int]:
    """Classes and channels, from the last linear layer and the first convolution."""
    heads = sorted(name for name in ours if re.fullmatch(r"head\.linear\d?\.weight", name))
    stems = [name for name in ours if re.fullmatch(r"features\.(stem\.(conv1?|0)|0)\.weight", name)]
    classes = ours[heads[-1]][0] if heads and ours[heads[-1]] else 0
    channels = ours[stems[0]][1] if stems and len(ours[stems[0]]) == 4 else 0
    return classes, channels


def candidates(ours: Shapes, wanted: str) -> list[str]:
    """Names of networks that may have such tensors, the likeliest first."""
    if "features.0.weight" in ours:
        return numbered(ours)
    if "features.stage3.a.one.conv.weight" in ours:
        heads = any(name.startswith("auxiliary.") for name in ours)
        return ["googlenet-bn-3x3" if heads else "googlenet-bn-3x3-auxiliary=no"]
    counts = Counter(
        match[1] for name in ours if (match := re.match(BLOCK + r"branch\.conv1\.", name))
    )
    sizes = tuple(counts[str(stage)] for stage in range(1, len(counts) + 1))
    return small(ours, sizes, wanted) if len(sizes) == 3 else large(ours, sizes, wanted)


def numbered(ours: Shapes) -> list[str]:
    """VGG and AlexNet."""
    convolutions = [shape for shape in ours.values() if len(shape) == 4]
    if ours["features.0.weight"][-1:] == (11,):
        return ["alexnet-2014"]
    normalized = "-bn" if any(name.endswith("running_mean") for name in ours) else ""
    weighted = sum(len(shape) in (2, 4) for shape in ours.values())
    return [f"vgg{weighted}{normalized}"] if convolutions else []


def large(ours: Shapes, sizes: tuple[int, ...], wanted: str) -> list[str]:
    """Networks for photographs."""
    inner = ours.get("features.stage1.0.branch.conv2.weight", ())
    deep = "features.stage1.0.branch.conv3.weight" in ours
    if len(sizes) != 4 or len(inner) != 4:
        return []
    depth = nearest(sizes, deep)
    options = {"shortcut": shortcut(ours), "stride": "3x3", **variants(ours)}
    if IMAGENET_BLOCKS[depth] != sizes:
        options["blocks"] = ".".join(map(str, sizes))
    options["stem"] = "7x7" if "features.stem.conv.weight" in ours else "deep"
    kind = "resnet"
    if deep:
        options["width"] = f"{inner[0] // inner[1]}x{inner[1]}d"
        kind = "resnext" if inner[0] > inner[1] else "wide-resnet" if inner[1] > 64 else kind
    else:
        del options["stride"]
    if "features.last.norm.weight" in ours:
        kind = "preact"
    elif shortcut(ours) == "A" and wanted.startswith("plain"):
        kind = "plain"
    return [spelled(kind + "{depth}", depth, options)]


def nearest(sizes: tuple[int, ...], deep: bool) -> int:
    """The depth with such numbers of blocks; else the least that has as many, or the deepest."""
    depths = [depth for depth in IMAGENET_BLOCKS if deep == (depth >= 50)]
    enough = [
        depth
        for depth in depths
        if all(have >= n for have, n in zip(IMAGENET_BLOCKS[depth], sizes, strict=True))
    ]
    return (enough or depths[-1:])[0]


def small(ours: Shapes, sizes: tuple[int, ...], wanted: str) -> list[str]:
    """Networks for small images."""
    branch = "bottleneck" if "features.stage1.0.branch.conv3.weight" in ours else "basic"
    depth = (9 if branch == "bottleneck" else 6) * max(sizes) + 2
    kind = "plain" if shortcut(ours) == "A" and wanted.startswith("plain") else "resnet"
    options = {"shortcut": shortcut(ours), "branch": branch, **variants(ours)}
    if len(set(sizes)) > 1:
        options["blocks"] = ".".join(map(str, sizes))
    return [spelled(kind + "{depth}-cifar", depth, options)]


def shortcut(ours: Shapes) -> str:
    """A without projections, C with one in each block; else D where a pool comes first, or B."""
    blocks = {m[0] for name in ours if (m := re.match(BLOCK, name))}
    projections = [name for name in ours if re.match(BLOCK + r"shortcut\..*weight$", name)]
    around = {m[0] for name in projections if (m := re.match(BLOCK, name))}
    if not around:
        return "A"
    if around == blocks:
        return "C"
    first = min(name.rpartition(".")[0] for name in projections if len(ours[name]) == 4)
    return "D" if first.endswith(".1") or "features.stem.conv1.weight" in ours else "B"


def variants(ours: Shapes) -> dict[str, str]:
    """Attention and norm."""
    attentive = any(".attention." in name for name in ours)
    normalized = any(name.endswith("running_mean") for name in ours)
    return {
        "attention": "se" if attentive else "off",
        "norm": "batch" if normalized else "group",
    }


def spelled(template: str, depth: int, options: Mapping[str, str]) -> str:
    """The name of a network of ours; options that its family lacks are left out."""
    known = NETWORKS[template].options
    values = {
        key: options.get(key, known[key].default)
        for key, choice in known.items()
        if isinstance(choice, Choice | Counts)
    }
    return written(template.format(depth=depth), values, known)


def fits(given: Shapes, style: str, name: str, classes: int, channels: int) -> bool:
    """Tell whether `name` is a network that has such tensors."""
    try:
        parse(name)
        network = weightless(name, classes, channels)
    except Refused:  # no such depth, width or option
        return False
    wanted = {place.name: place.shape for place in places(network, style).values()}
    there = {name: shape for name, shape in given.items() if not name.endswith(COUNTER)}
    return bool(wanted) and there == {
        name: shape for name, shape in wanted.items() if not name.endswith(COUNTER)
    }
