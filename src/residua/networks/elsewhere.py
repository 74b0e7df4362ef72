"""What other projects call our networks and their modules, in tables.

A table of names has a row for each kind of module, ours on the left:

    {s} {i} {k}     a number or a letter, the same on both sides
    {s-1}           theirs counts from 0 where ours counts from 1
    * and #         all layers below, which they only number from 0, in order
    a third column  theirs is a convolution over so many pixels where ours is a linear layer

networks/renaming.py reads them.
"""

from collections.abc import Mapping
from typing import NamedTuple

Row = tuple[str, str] | tuple[str, str, int]
Names = tuple[Row, ...]

STEM: Names = (("features.stem.conv", "conv1"), ("features.stem.norm", "bn1"))
BLOCKS: Names = (
    ("features.stage{s}.{i}.branch.conv{k}", "layer{s}.{i}.conv{k}"),
    ("features.stage{s}.{i}.branch.norm{k}", "layer{s}.{i}.bn{k}"),
)
RESIDUAL: Names = (
    *STEM,
    *BLOCKS,
    ("features.stage{s}.{i}.shortcut.*", "layer{s}.{i}.downsample.#"),
    ("head.linear", "fc"),
)
SMALL: Names = (
    *STEM,
    *BLOCKS,
    ("features.stage{s}.{i}.shortcut.*", "layer{s}.{i}.shortcut.#"),
    ("head.linear", "linear"),
)
VARIED: Names = (
    *RESIDUAL,
    ("features.stem.norm3", "bn1"),
    ("features.stem.*", "conv1.#"),
    ("features.stage{s}.{i}.branch.attention.reduce", "layer{s}.{i}.se.fc1"),
    ("features.stage{s}.{i}.branch.attention.expand", "layer{s}.{i}.se.fc2"),
)
PREACTIVATION: Names = (
    ("features.stem.conv", "stem.conv"),
    ("features.stem.conv{k}", "stem.conv{k}"),
    ("features.stem.norm{k}", "stem.norm{k}"),
    ("features.stage{s}.{i}.before.norm", "stages.{s-1}.blocks.{i}.norm1"),
    ("features.stage{s}.{i}.branch.conv{k}", "stages.{s-1}.blocks.{i}.conv{k}"),
    ("features.stage{s}.{i}.branch.norm{k}", "stages.{s-1}.blocks.{i}.norm{k}"),
    ("features.stage{s}.{i}.shortcut.conv", "stages.{s-1}.blocks.{i}.downsample.conv"),
    ("features.last.norm", "norm"),
    ("head.linear", "head.fc", 1),
)
TRANSFORMERS: Names = (
    ("features.stem.conv", "resnet.embedder.embedder.convolution"),
    ("features.stem.norm", "resnet.embedder.embedder.normalization"),
    (
        "features.stage{s}.{i}.branch.conv{k}",
        "resnet.encoder.stages.{s-1}.layers.{i}.layer.{k-1}.convolution",
    ),
    (
        "features.stage{s}.{i}.branch.norm{k}",
        "resnet.encoder.stages.{s-1}.layers.{i}.layer.{k-1}.normalization",
    ),
    (
        "features.stage{s}.{i}.shortcut.conv",
        "resnet.encoder.stages.{s-1}.layers.{i}.shortcut.convolution",
    ),
    (
        "features.stage{s}.{i}.shortcut.norm",
        "resnet.encoder.stages.{s-1}.layers.{i}.shortcut.normalization",
    ),
    ("head.linear", "classifier.1"),
)
VGG: Names = (
    ("features.*", "features.#"),
    ("head.linear1", "classifier.0"),
    ("head.linear2", "classifier.3"),
    ("head.linear3", "classifier.6"),
)
ALEXNET: Names = (
    ("features.*", "features.#"),
    ("head.linear1", "classifier.1"),
    ("head.linear2", "classifier.4"),
    ("head.linear3", "classifier.6"),
)
TIMM_VGG: Names = (
    ("features.*", "features.#"),
    ("head.linear1", "pre_logits.fc1", 7),
    ("head.linear2", "pre_logits.fc2", 1),
    ("head.linear3", "head.fc"),
)
MODULES = (
    ("stage3", "ab"),
    ("stage4a", "a"),
    ("stage4d", "bcd"),
    ("stage4e", "e"),
    ("stage5", "ab"),
)
GOOGLENET: Names = (
    ("features.stem.conv{k}", "conv{k}.conv"),
    ("features.stem.norm{k}", "conv{k}.bn"),
    *(
        (f"features.{stage}.{module}.{branch}.{ours}", f"inception{stage[5]}{module}.{theirs}")
        for stage, modules in MODULES
        for module in modules
        for branch, ours, theirs in (
            ("one", "conv", "branch1.conv"),
            ("one", "norm", "branch1.bn"),
            ("three", "conv{k}", "branch2.{k-1}.conv"),
            ("three", "norm{k}", "branch2.{k-1}.bn"),
            ("five", "conv{k}", "branch3.{k-1}.conv"),
            ("five", "norm{k}", "branch3.{k-1}.bn"),
            ("pool", "conv", "branch4.1.conv"),
            ("pool", "norm", "branch4.1.bn"),
        )
    ),
    *(
        (f"auxiliary.{stage}.{ours}", f"{theirs}")
        for stage, place in (("stage4a", "aux1"), ("stage4d", "aux2"))
        for ours, theirs in (
            ("conv", f"{place}.conv.conv"),
            ("norm", f"{place}.conv.bn"),
            ("linear{k}", f"{place}.fc{{k}}"),
        )
    ),
    ("head.linear", "fc"),
)


class Style(NamedTuple):
    """How one project names modules, by our family, and which of its networks are ours."""

    names: Mapping[str, Names]
    networks: Mapping[str, str]  # ours -> theirs; {depth} stands for any depth


def same(*names: str) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


DEPTHS = (18, 34, 50, 101, 152)
LATER = {depth: f"resnet{depth}-v1.5" if depth >= 50 else f"resnet{depth}" for depth in DEPTHS}
SHARED: Mapping[str, str] = {
    **{ours: f"resnet{depth}" for depth, ours in LATER.items()},
    "resnext50": "resnext50_32x4d",
    "resnext101-32x8d": "resnext101_32x8d",
    "resnext101-64x4d": "resnext101_64x4d",
    "wide-resnet50": "wide_resnet50_2",
    "wide-resnet101": "wide_resnet101_2",
    **same("vgg11", "vgg13", "vgg16", "vgg19"),
    **{f"vgg{depth}-bn": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}  # both torchvision and timm have these

STYLES: Mapping[str, Style] = {
    "torchvision": Style(
        {
            **dict.fromkeys(("plain{depth}", "resnet{depth}"), RESIDUAL),
            **dict.fromkeys(("resnext{depth}", "wide-resnet{depth}"), RESIDUAL),
            **dict.fromkeys(("plain{depth}-cifar", "resnet{depth}-cifar"), RESIDUAL),
            "vgg{depth}": VGG,
            "alexnet-2014": ALEXNET,
            "googlenet": GOOGLENET,
        },
        {**SHARED, "alexnet-2014": "alexnet", "googlenet-bn-3x3": "googlenet"},
    ),
    "timm": Style(
        {
            **dict.fromkeys(("plain{depth}", "resnet{depth}"), VARIED),
            **dict.fromkeys(("resnext{depth}", "wide-resnet{depth}"), VARIED),
            "preact{depth}": PREACTIVATION,
            "vgg{depth}": TIMM_VGG,
        },
        {
            **SHARED,
            "resnext101": "resnext101_32x4d",
            **{f"{ours}-se": f"seresnet{depth}" for depth, ours in LATER.items()},
            **{f"resnet{depth}-d": f"resnet{depth}d" for depth in DEPTHS},
            "resnet152-d-se": "seresnet152d",
            "resnext50-stem=deep-shortcut=D": "resnext50d_32x4d",
            "resnext50-se": "seresnext50_32x4d",
            "resnext101-se": "seresnext101_32x4d",
            "resnext101-32x8d-se": "seresnext101_32x8d",
            "resnext101-64x4d-se": "seresnext101_64x4d",
            "resnet50-v1.5-gn": "resnet50_gn",
            "resnet50-d-blur": "resnetblur50d",
            "resnet101-d-blur": "resnetblur101d",
            **{f"preact{depth}-v1.5": f"resnetv2_{depth}" for depth in (50, 101, 152)},
            **{f"preact{depth}-d": f"resnetv2_{depth}d" for depth in (50, 101, 152)},
        },
    ),
    "cifar": Style(
        dict.fromkeys(("plain{depth}-cifar", "resnet{depth}-cifar"), SMALL),
        same("plain{depth}-cifar", *(f"resnet{{depth}}-cifar-{option}" for option in "abc")),
    ),
    "transformers": Style(
        {"resnet{depth}": TRANSFORMERS},
        {**same(*(f"resnet{depth}" for depth in DEPTHS)), **same(*LATER.values())},
    ),
}
