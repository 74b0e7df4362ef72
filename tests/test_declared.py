"""A config.json beside weights is read strictly, and what would change an answer is refused."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from residua import networks
from residua.declared import CONFIG, PICTURES, config_of, declared, pictures_config
from residua.errors import BadData
from residua.images import Preprocessing

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TIMM: dict[str, Any] = {
    "architecture": "resnet50",
    "num_classes": 3,
    "num_features": 2048,
    "global_pool": "avg",
    "pretrained_cfg": {
        "tag": "a1_in1k",
        "input_size": [3, 224, 224],
        "interpolation": "bilinear",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": MEAN,
        "std": STD,
        "num_classes": 3,
        "first_conv": "conv1",
    },
}
TRANSFORMERS: dict[str, Any] = {
    "model_type": "resnet",
    "architectures": ["ResNetForImageClassification"],
    "depths": [3, 4, 6, 3],
    "hidden_sizes": [256, 512, 1024, 2048],
    "embedding_size": 64,
    "layer_type": "bottleneck",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
    "id2label": {"0": "cat", "1": "dog"},
}
PROCESSOR: dict[str, Any] = {
    "crop_pct": 0.875,
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "image_mean": MEAN,
    "image_std": STD,
}


def written(folder: Path, config: Any, pictures: Any = None) -> Path:
    folder.mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / CONFIG).write_text(text)
    if pictures is not None:
        (folder / PICTURES).write_text(json.dumps(pictures))
    return folder


def timm(**changes: Any) -> dict[str, Any]:
    """The config with other fields, of `pretrained_cfg` where they are there."""
    inner = {key: value for key, value in changes.items() if key in TIMM["pretrained_cfg"]}
    outer = {key: value for key, value in changes.items() if key not in inner}
    return {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], **inner}, **outer}


def test_timm(tmp_path: Path) -> None:
    found = declared(written(tmp_path, TIMM))
    assert (found.network, found.total, found.classes, found.notes) == ("resnet50-v1.5", 3, (), ())
    assert found.look == Preprocessing(224, "crop", 235, tuple(MEAN), tuple(STD))


def test_timm_of_another_kind(tmp_path: Path) -> None:
    labels = ["a", "b", "c"]
    found = declared(
        written(
            tmp_path,
            timm(architecture="seresnet18", label_names=labels, interpolation="bicubic"),
        )
    )
    assert (found.network, found.classes) == ("resnet18-se", ("a", "b", "c"))
    assert "bicubic" in found.notes[0]
    flat = {"architecture": "vgg16_bn", "num_classes": 9}
    assert declared(written(tmp_path, flat)).look is None
    squashed = timm(crop_mode="squash", crop_pct=1.0)
    assert declared(written(tmp_path, squashed)).look == Preprocessing(
        224, "squash", 224, tuple(MEAN), tuple(STD)
    )
    bordered = declared(written(tmp_path, timm(crop_mode="border")))
    assert bordered.look is not None and bordered.look.fit == "crop"
    assert "crop_mode border is not known" in bordered.notes[0]


@pytest.mark.parametrize(
    ("layer", "first", "depths", "network"),
    [
        ("bottleneck", False, [3, 4, 6, 3], "resnet50-v1.5"),
        ("bottleneck", True, [3, 4, 6, 3], "resnet50-v1"),
        ("bottleneck", True, [3, 8, 36, 3], "resnet152-v1"),
        ("basic", False, [3, 4, 6, 3], "resnet34"),
        ("basic", False, [2, 2, 2, 2], "resnet18"),
    ],
)
def test_transformers_tells_the_stride(
    tmp_path: Path, layer: str, first: bool, depths: list[int], network: str
) -> None:
    widths = [(256 if layer == "bottleneck" else 64) * 2**stage for stage in range(4)]
    config = TRANSFORMERS | {
        "layer_type": layer,
        "downsample_in_bottleneck": first,
        "depths": depths,
        "hidden_sizes": widths,
    }
    found = declared(written(tmp_path, config, PROCESSOR))
    assert (found.network, found.classes, found.total) == (network, ("cat", "dog"), 2)
    assert found.look == Preprocessing(224, "crop", 256, tuple(MEAN), tuple(STD))
    assert "bicubic" in found.notes[0]


def test_classes_that_nobody_named(tmp_path: Path) -> None:
    config = TRANSFORMERS | {"id2label": {str(n): f"LABEL_{n}" for n in range(5)}}
    found = declared(written(tmp_path, config))
    assert (found.total, found.classes, found.look) == (5, (), None)


@pytest.mark.parametrize(
    ("processor", "look"),
    [
        ({"size": {"shortest_edge": 384}}, (384, "squash", 384)),
        ({"size": 224}, (224, "crop", 256)),
        ({"size": {"height": 96, "width": 96}, "crop_pct": None}, (96, "squash", 96)),
        (
            {"size": 256, "crop_pct": None, "do_center_crop": True, "crop_size": 224},
            (224, "crop", 256),
        ),
    ],
)
def test_processors(tmp_path: Path, processor: dict[str, Any], look: tuple[int, str, int]) -> None:
    found = declared(written(tmp_path, TRANSFORMERS, PROCESSOR | processor)).look
    assert found is not None
    assert (found.size, found.fit, found.resize) == look


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("", "malformed"),
        ("[]", "not a table"),
        ("{" * 100_000, "malformed"),
        ('{"architecture": "resnet50", "architecture": "resnet18"}', "stands twice"),
        ('{"architecture": "resnet50", "num_classes": NaN}', "NaN is not a number"),
        ({}, "nothing that says so"),
        ({"model_type": "vit"}, "is of vit"),
        ({"model_type": ["\u001b[2J"] * 9999}, "is of ["),
        (timm(architecture="resnetblur50"), "what timm's resnetblur50 does"),
        (timm(architecture=7), "timm's 7"),
        (timm(num_classes=10**9), "num_classes"),
        (timm(num_classes="3"), "num_classes"),
        (timm(num_classes=True), "num_classes"),
        (timm(num_classes=-1), "num_classes"),
        (timm(mean=[0.5, 0.5]), "3 values each"),
        (timm(std=[0, 1, 1]), "deviations"),
        (timm(std=["a", 1, 1]), "not finite"),
        (timm(std={"a": 1}), "3 values each"),
        (timm(crop_pct=0), "crop_pct"),
        (timm(crop_pct="1"), "crop_pct"),
        (timm(input_size=[3, 224, 192]), "square"),
        (timm(input_size=[1, 224, 224]), "square"),
        (timm(input_size=[3, 10**9, 10**9]), "input_size"),
        (timm(input_size="224"), "square"),
        (timm(label_names=["a"]), "label_names"),
        (timm(label_names=[1, 2, 3]), "label_names"),
        (timm(label_names="abc"), "not a list"),
        (timm(pretrained_cfg=[]) | {"pretrained_cfg": [1]}, "pretrained_cfg is not a table"),
        (timm(global_pool="max"), "global_pool"),
        (timm(model_args={"output_stride": 8}), "output_stride"),
        (timm(model_args={"norm_eps": 1e-3}), "norm_eps"),
        (timm(model_args={"norm_layer": "groupnorm"}), "norm_layer"),
        (timm(model_args={"in_chans": 1}), "in_chans"),
        (TRANSFORMERS | {"depths": [3] * 1_000_000}, "depths"),
        (TRANSFORMERS | {"depths": [3, 4, 6, 10**9]}, "depths"),
        (TRANSFORMERS | {"depths": "3463"}, "depths"),
        (TRANSFORMERS | {"layer_type": "basic"}, "depths"),
        (TRANSFORMERS | {"hidden_sizes": [64, 128, 256, 512]}, "depths"),
        (TRANSFORMERS | {"embedding_size": 128}, "embedding_size is not 64"),
        (TRANSFORMERS | {"hidden_act": "gelu"}, "hidden_act is not relu"),
        (TRANSFORMERS | {"num_channels": 1}, "num_channels is not 3"),
        (TRANSFORMERS | {"downsample_in_first_stage": True}, "downsample_in_first_stage"),
        (TRANSFORMERS | {"downsample_in_bottleneck": 1}, "downsample_in_bottleneck"),
        (TRANSFORMERS | {"batch_norm_eps": 1e-3}, "batch_norm_eps is not 1e-05"),
        (TRANSFORMERS | {"id2label": {"1": "a"}}, "from 0 on"),
        (TRANSFORMERS | {"id2label": {"0": 7}}, "id2label"),
        (TRANSFORMERS | {"id2label": [1]}, "not a table"),
        (TRANSFORMERS | {"id2label": {}, "num_labels": 10**9}, "num_labels"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_what_is_strange_is_refused_at_once(tmp_path: Path, config: Any, complaint: str) -> None:
    folder = written(tmp_path, config)
    before = time.monotonic()
    with pytest.raises(BadData) as caught:
        declared(folder)
    assert time.monotonic() - before < 2
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 2000 and "\u001b" not in str(caught.value)


@pytest.mark.parametrize(
    "processor",
    [
        {"size": None},
        {"size": {"shortest_edge": 10**9}},
        {"image_mean": None},
        {"image_std": [1, 1]},
        {"crop_pct": 7},
        {"crop_pct": None, "do_center_crop": True, "crop_size": "big"},
    ],
)
def test_strange_processors_are_refused(tmp_path: Path, processor: dict[str, Any]) -> None:
    folder = written(tmp_path, TRANSFORMERS, PROCESSOR | processor)
    with pytest.raises(BadData):
        declared(folder)


def test_a_large_config_is_not_parsed(tmp_path: Path) -> None:
    written(tmp_path, '{"a": "' + "x" * 16_000_000 + '"}')
    with pytest.raises(BadData, match="more than any config has"):
        declared(tmp_path)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101-v1.5"])
@pytest.mark.parametrize("size", [(224, 256), (176, 201), (384, 384)])
def test_what_is_written_reads_back(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    network = networks.build(name, 2)
    fit = "crop" if size[0] < 384 else "squash"
    look = Preprocessing(size[0], fit, size[1], tuple(MEAN), tuple(STD))
    folder = written(tmp_path, config_of(network, ["cat", "dog"]), pictures_config(look))
    found = declared(folder)
    assert networks.parse(found.network) == networks.parse(name)
    assert (found.classes, found.look, found.notes) == (("cat", "dog"), look, ())


def test_what_a_processor_cannot_say_is_not_written() -> None:
    assert pictures_config(Preprocessing(224, "pad")) == {}
    assert pictures_config(Preprocessing(8, mean=(0.5,) * 192)) == {}
