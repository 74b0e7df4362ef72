"""audit: two well-known training scripts depart from the papers where they do, and ours nowhere."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from residua import settings
from residua.audit import Audit, audit, open_audit
from residua.audit.papers import PAPERS
from residua.audit.rules import GRADES
from residua.audit.terms import ALIASES, NEUTRAL, READERS, TERMS
from residua.audit.units import ours
from residua.errors import BadData, Refused
from residua.recipes import RECIPES, Recipe

IMAGENET_MEAN = [0.485, 0.456, 0.406]
# What github.com/akamaster/pytorch_resnet_cifar10 does, as its trainer has it: the lower rate of
# its deepest networks is set once, and schedulers that multiply the present rate never undo that.
AKAMASTER: dict[str, Any] = {
    "arch": "resnet110",
    "option": "A",
    "dataset": "CIFAR10",
    "train-images": 50_000,
    "epochs": 200,
    "batch-size": 128,
    "lr": 0.1,
    "momentum": 0.9,
    "weight-decay": 1e-4,
    "bn-weight-decay": 1e-4,
    "optimizer": "SGD",
    "nesterov": False,
    "lr-milestones": [100, 150],
    "warmup": {"lr": 0.01, "end": "never"},
    "random-crop": {"padding": 4},
    "horizontal-flip": 0.5,
    "mean": IMAGENET_MEAN,
    "std": [0.229, 0.224, 0.225],
    "half": False,
    "select": "best on test",
    "workers": 4,
    "print-freq": 50,
}
# What github.com/facebookarchive/fb.resnet.torch does for photographs.
FACEBOOK: dict[str, Any] = {
    "netType": "resnet",
    "depth": 50,
    "shortcutType": "B",
    "stride-placement": "3x3",
    "dataset": "imagenet",
    "nEpochs": 90,
    "batchSize": 256,
    "LR": 0.1,
    "lr-step-size": 30,
    "momentum": 0.9,
    "dampening": 0,
    "nesterov": True,
    "weightDecay": 1e-4,
    "no-bias-decay": False,
    "optimizer": "sgd",
    "crop": "random resized crop",
    "color-jitter": 0.4,
    "mean": IMAGENET_MEAN,
    "flip": 0.5,
    "precision": "float32",
    "report": "best of the test errors",
    "tenCrop": False,
    "nThreads": 2,
}
# ... and for small images.
FACEBOOK_SMALL = {
    **{key: FACEBOOK[key] for key in ("netType", "LR", "momentum", "nesterov", "weightDecay")},
    **{key: FACEBOOK[key] for key in ("no-bias-decay", "optimizer", "mean", "flip", "precision")},
    "depth": 56,
    "shortcutType": "A",
    "dataset": "cifar10",
    "validation": 0,
    "nEpochs": 164,
    "batchSize": 128,
    "milestones": [80, 121],
    "crop": 4,
    "report": "best of the test errors",
}


def departures(found: Audit) -> set[str]:
    return {each.setting for each in found.departures}


def graded(found: Audit, setting: str) -> str:
    return next(each.grade for each in found.departures if each.setting == setting)


def test_a_script_for_small_images_whose_warm_up_never_ends() -> None:
    found = audit(AKAMASTER)
    assert found.against == "paper-cifar"
    assert departures(found) == {
        "warm-up", "select", "steps", "milestones", "normalize", "optimizer",
    }  # fmt: skip
    assert graded(found, "warm-up") == graded(found, "select") == GRADES[0]
    assert graded(found, "optimizer") == graded(found, "normalize") == GRADES[2]
    assert found.departures[0].received == "never ends"
    assert {each.setting: each.received for each in found.departures}["steps"] == 78_200
    assert not found.unknown
    assert found.neutral == ("workers", "print-freq")
    agreed = {each.setting for each in found.agrees}
    assert {"shortcut", "crop", "flip", "weight_decay", "validation", "decay_norms"} <= agreed


def test_its_shallow_networks_have_no_warm_up_and_need_none() -> None:
    table = {**AKAMASTER, "arch": "resnet20"}
    del table["warmup"]
    assert departures(audit(table)) == departures(audit(AKAMASTER)) - {"warm-up"}


def test_a_script_for_photographs_with_the_later_stride() -> None:
    found = audit(FACEBOOK)
    assert found.against == "paper-imagenet"
    assert departures(found) == {
        "stride", "steps", "crop", "color", "nesterov", "select", "optimizer", "protocol",
    }  # fmt: skip
    stride = next(each for each in found.departures if each.setting == "stride")
    assert "4.089 against 3.858" in stride.effect
    assert stride.direction == "lower error"
    assert not found.unknown


def test_the_same_script_for_small_images_follows_the_schedule() -> None:
    found = audit(FACEBOOK_SMALL)
    assert departures(found) == {"nesterov", "optimizer", "normalize", "select"}
    assert not found.unknown


@pytest.mark.parametrize(
    ("name", "network", "data"),
    [
        ("paper-cifar", "resnet20-cifar", "cifar10"),
        ("paper-cifar", "plain56-cifar", "cifar-10"),
        ("paper-cifar", "resnet110-cifar", "cifar10"),
        ("paper-imagenet", "resnet50", "imagenet"),
        ("paper-imagenet", "resnet34-shortcut=A", "ilsvrc2012"),
        ("paper-imagenet", "plain18", "imagenet"),
    ],
)
def test_our_recipes_have_no_departure(name: str, network: str, data: str, tmp_path: Path) -> None:
    warm = 0.8 if "110" in network else 0.0
    layer = {"network": network, "warmup_error": warm, "whiten": "off"}
    recipe, sources = settings.resolve(name, [("flag", layer)])
    (tmp_path / "recipe.json").write_text(json.dumps(settings.as_json(recipe, sources, name)))
    images = {"train": 50_000 if "cifar" in name else 1_281_167, "test": 10_000}
    run = {"data": {"name": data, "images": images}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    found = open_audit(tmp_path)
    assert found.against == name
    assert departures(found) == set()
    assert not found.unknown
    assert found.to_dict()["departures"] == []


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"network": "resnet20-cifar-shortcut=B"}, "shortcut"),
        ({"network": "resnet20-cifar-join=gate"}, "join"),
        ({"network": "resnet20-cifar-se"}, "attention"),
        ({"network": "resnet20-cifar-gn"}, "norm"),
        ({"network": "preact20-cifar-branch=basic-shortcut=A"}, "family"),
        ({"network": "resnet26-cifar"}, "depth"),
        ({"network": "resnet56-cifar-blocks=9.7.5"}, "blocks"),
        ({"steps": 60_000, "milestones": (32 / 60, 48 / 60)}, "steps"),
        ({"milestones": (0.25, 0.75)}, "milestones"),
        ({"batch": 256}, "batch"),
        ({"learning_rate": 0.2}, "learning_rate"),
        ({"decay_norms": False}, "decay_norms"),
        ({"validation": 0.2}, "validation"),
        ({"normalize": "channel"}, "normalize"),
        ({"crop": "shift"}, "crop"),
        ({"flip": False}, "flip"),
        ({"alternate": True}, "alternate"),
        ({"grow": (0.75, 1.0)}, "grow"),
        ({"color": "jitter"}, "color"),
        ({"mixup": 0.2}, "mixup"),
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"optimizer": "adamw"}, "optimizer"),
        ({"momentum": 0.8}, "momentum"),
        ({"nesterov": True}, "nesterov"),
        ({"weight_decay": 5e-4}, "weight_decay"),
        ({"clip": 1.0}, "clip"),
        ({"ema": 0.99}, "ema"),
        ({"zero_init": True}, "zero_init"),
        ({"whiten": "frozen"}, "whiten"),
        ({"precise_norms": 1000}, "precise_norms"),
        ({"precision": "bf16"}, "precision"),
        ({"select": "best"}, "select"),
        ({"warmup": 0.1}, "warm-up"),
        ({"warmup_error": 0.8}, "warm-up"),
        ({"init": "runs/a"}, "weights"),
        ({"schedule": "cosine"}, "schedule"),
        ({"size": 24}, "size"),
    ],
)
def test_each_departure_of_a_recipe_is_found_alone(change: dict[str, Any], setting: str) -> None:
    recipe = asdict(RECIPES["paper-cifar"][1]) | {"network": "resnet20-cifar"} | change
    found = audit({**recipe, "dataset": "cifar10"}, "paper-cifar", own=True)
    assert departures(found) == {setting}
    assert found.departures[0].effect


def test_a_network_for_photographs_is_not_the_papers_for_small_images() -> None:
    found = audit({"arch": "resnet18", "dataset": "cifar10"})
    assert found.against == "paper-cifar"
    assert graded(found, "family") == "changes the result"


def test_every_setting_of_a_recipe_has_a_place() -> None:
    """A new field of Recipe has to be judged, or said to decide no result."""
    assert not [name for name in asdict(Recipe()) if name not in TERMS and name not in NEUTRAL]


def test_each_name_means_one_thing() -> None:
    every = [name for term, names in ALIASES.items() for name in (term, *names)]
    assert len(every) == len(set(every))
    assert not set(every) & NEUTRAL
    assert not READERS.keys() - ALIASES.keys()


def test_all_rules_have_words() -> None:
    for paper in PAPERS.values():
        settings_ = [rule.setting for rule in paper.rules]
        assert len(settings_) == len(set(settings_))
        assert all(rule.paper and rule.section for rule in paper.rules)


def test_what_is_strange_or_not_said_is_unknown() -> None:
    table = {"arch": "resnet56", "dataset": "cifar10", "lr": "fast", "swish": True, "wd": 1e-4}
    found = audit(table)
    unknown = {each.setting: each.why for each in found.unknown}
    assert "no setting of this name" in unknown["swish"]
    assert "not understood" in unknown["lr"]
    assert "not said" in unknown["nesterov"]
    assert "not said" in unknown["shortcut"]  # others' names do not say it
    assert "warm-up" not in unknown
    assert departures(found) == set()
    contrary = audit({**AKAMASTER, "weight_decay": 5e-4})
    assert "contradicts" in contrary.unknown[0].why


def test_a_warm_up_without_an_end_is_unknown_and_one_too_long_never_ends() -> None:
    unsaid = audit({**AKAMASTER, "warmup": {"lr": 0.01}})
    assert [each.why for each in unsaid.unknown if "ends" in each.why]
    assert "warm-up" not in departures(unsaid)
    long = audit({**AKAMASTER, "warmup": 200})
    assert long.departures[0].received == "never ends"
    epoch = audit({**AKAMASTER, "warmup": 1})
    assert graded(epoch, "warm-up") == "cosmetic"
    told = audit({**AKAMASTER, "warmup": {"lr": 0.01, "until": "training error below 80 %"}})
    assert "warm-up" not in departures(told)


def test_milestones_are_compared_in_steps() -> None:
    held = {**AKAMASTER, "train-images": 45_000, "epochs": 182}
    assert "milestones" not in departures(audit({**held, "lr-milestones": "91,136"}))
    wrong = audit({**held, "lr-milestones": [82, 123]})
    assert "milestones" in departures(wrong)
    assert "91 and 136 of 45,000" in next(
        each.effect for each in wrong.departures if each.setting == "milestones"
    )


def test_the_paper_is_chosen_by_network_or_data() -> None:
    assert audit({"model": {"type": "ResNet", "depth": 101}}).against == "paper-imagenet"
    assert audit({"model": "ResNet-32"}).against == "paper-cifar"
    assert audit({"dataset": "data/imagenet"}).against == "paper-imagenet"
    assert audit({"lr": 0.1}, "paper-cifar").against == "paper-cifar"
    with pytest.raises(Refused, match="which paper"):
        audit({"lr": 0.1})


def test_names_of_others() -> None:
    assert ours("ResNet-20", {}) == "resnet20-cifar"
    assert ours("cifar10_resnet56", {}) == "resnet56-cifar"
    assert ours("preact_resnet110", {}) == "preact110-cifar"
    assert ours("resnet50_v1.5", {}) == "resnet50-v1.5"


def test_files(tmp_path: Path) -> None:
    toml = tmp_path / "settings.toml"
    toml.write_text('recipe = "paper-cifar"\nnesterov = true\nnetwork = "resnet20-cifar"\n')
    assert departures(open_audit(toml)) == {"nesterov"}
    other = tmp_path / "other.toml"
    other.write_text(
        '[model]\nname = "resnet18"\n[train]\nlr = 0.1\n[train.optimizer]\ntype="Adam"'
    )
    assert departures(open_audit(other)) == {"optimizer"}
    with pytest.raises(Refused, match="paper-cifar"):
        open_audit(toml, "paper-cifer")
    with pytest.raises(BadData, match=r"recipe\.json"):
        open_audit(tmp_path)
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(BadData):
        open_audit(tmp_path / "bad.json")
