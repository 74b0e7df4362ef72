"""The study of lesions: verdicts from rows, and rows from a network that stays as it is."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from residua import api, checkpoints, inquiry, networks
from residua.checkpoints import Weights
from residua.datasets import load
from residua.datasets.dataset import Dataset
from residua.errors import Refused
from residua.factors import Factors
from residua.images import Preprocessing
from residua.probes.damage import costs, path_numbers
from residua.studies.lesion import STUDY, conclude
from residua.sweeps import Row, sweep

IMAGES = 1_000


def bits(wrong: int, shift: int = 0) -> str:
    right = np.ones(IMAGES, bool)
    right[shift : shift + wrong] = False
    return np.packbits(right).tobytes().hex()


def row(lesion: str, wrong: int, **values: object) -> Row:
    error = {"error": wrong / IMAGES, "wrong": wrong, "images": IMAGES, "right": bits(wrong)}
    return {
        "lesion": lesion,
        "block": "",
        "count": 0,
        "seed": 0,
        "status": "done",
        **error,
        **values,
    }


def rows(wrong: Sequence[int], whole: int = 80, kind: str = "residual") -> list[Row]:
    """A network of len(wrong) blocks, and one more that changes the shape."""
    names = [f"stage1.{place}" for place in range(len(wrong))]
    known = {
        "network": "resnet56-cifar",
        "kinds": [kind],
        "order": [*names, "stage2.0"],
        "changing": ["stage2.0"],
        "stuck": ["stage2.0"] if kind == "plain" else [],
        "chance": 0.9,
    }
    drops = [row("drop", each, block=name) for name, each in zip(names, wrong, strict=True)]
    if kind != "plain":
        drops.append(row("drop", 850, block="stage2.0"))
    return [row("whole", whole, **known), *drops]


def test_a_network_that_can_spare_each_block() -> None:
    found = conclude(Factors(), rows([90, 100, 130, 85]))
    assert found.holds is True
    assert "No single block is worth half" in found.words
    assert "5.0 points (3.6 to 6.4) (stage1.2)" in found.words  # not that which changes the shape
    assert found.numbers["spared"] == 4


def test_a_network_that_needs_each_block() -> None:
    found = conclude(Factors(), rows([700, 650, 800], kind="plain"))
    assert found.holds is False
    assert "Every single block is worth more than half" in found.words
    assert any("stage2.0 cannot be dropped" in line for line in found.limits)
    assert any("a single one" in line for line in found.limits)


def test_what_the_interval_leaves_open_decides_nothing() -> None:
    found = conclude(Factors(), rows([488, 492, 490]))  # half of what it knows is 41 points
    assert found.holds is None
    assert found.words.startswith("Not enough evidence")


def test_most_blocks_decide_and_the_rest_are_told() -> None:
    found = conclude(Factors(), rows([90, 95, 100, 700]))
    assert found.holds is True
    assert "3 can be spared" in found.words and "1 are needed" in found.words


@pytest.mark.parametrize("change", [{"images": 50}, {"wrong": 895, "error": 0.895}])
def test_few_images_or_a_network_that_guesses_are_not_enough(change: dict[str, object]) -> None:
    found = rows([90, 100])
    found[0] |= change
    if "images" in change:
        for each in found:
            each |= change
    verdict = conclude(Factors(), found)
    assert verdict.holds is None and "Not enough evidence" in verdict.words


def test_a_cost_is_that_of_the_same_images() -> None:
    found = rows([80])
    found[1]["right"] = bits(80, shift=40)  # as many wrong, but other images
    cost = costs(found)[0]
    assert cost.rise == 0
    assert cost.low < 0 < cost.high


def paths(norms: Sequence[Sequence[float]]) -> list[Row]:
    order = [f"stage1.{place}" for place in range(len(norms) - 1)]
    return [row("whole", 80, order=order)] + [
        {"lesion": "path", "block": "", "count": k, "seed": 0, "status": "done", "gradients": each}
        for k, each in enumerate(norms)
    ]


@given(st.integers(1, 12), st.floats(0.05, 1.0))
def test_gradients_that_shrink_with_each_branch_shorten_the_mean_path(
    blocks: int, factor: float
) -> None:
    """A factor f for each branch: the weights are binomial with p = f / (1 + f)."""
    found = path_numbers(paths([[factor**k] * 3 for k in range(blocks + 1)]))
    assert found["by_gradient"] == pytest.approx(blocks * factor / (1 + factor))
    assert found["mean_length"] == blocks / 2
    low, high = found["middle"]
    share = sum(comb(blocks, k) for k in range(low, high + 1)) / 2**blocks
    assert found["share_of_paths"] == pytest.approx(share)


def test_a_length_that_is_missing_leaves_the_paths_open() -> None:
    assert path_numbers(paths([[1.0], [0.5], [0.2]])[:-1]) == {}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits")
    few = {role: split.select(range(0, len(split), 3)) for role, split in data.splits.items()}
    return replace(data, splits=few)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return checkpoints.open_weights("resnet20-digits")


FEW: dict[str, Any] = {"seeds": 1, "removed": (1, 3), "tested": 120}


@pytest.fixture(scope="module")
def done(
    digits: Dataset, weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> api.Studied:
    runs = tmp_path_factory.mktemp("runs")
    return api.study("lesion", digits, weights=weights, budget="1m", workers=1, runs=runs, **FEW)


def test_every_lesion_has_its_row(done: api.Studied) -> None:
    found = done.info["rows"]
    kinds = [each["lesion"] for each in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "whole": 1, "drop": 9, "several": 2, "swap": 2, "path": 10,
    }  # fmt: skip
    assert found[0]["error"] < 0.03
    assert all(each["images"] == 120 for each in found if each["lesion"] != "path")
    assert all(len(each["gradients"]) == 10 for each in found if each["lesion"] == "path")
    assert done.info["holds"] is True
    assert {"lesion.svg", "damage.svg", "paths.svg"} <= {
        p.name for p in done.directory.figures.iterdir()
    }


def measured(weights: Weights, digits: Dataset, folder: Path, workers: int = 1) -> list[Row]:
    """The rows of a study in the order of its cells, without its figures."""
    asked = inquiry.prepare("lesion", digits, FEW, inquiry.budget_of("1m", 1), weights)
    found = {}
    measure = partial(STUDY.measure, asked.subject, asked.factors)
    for each in sweep(STUDY.cells(asked.factors), measure, folder, workers):
        found[each.cell.key] = each.row
    return [found[cell.key] for cell in STUDY.cells(asked.factors)]


def test_workers_change_no_number_and_no_weight(
    done: api.Studied, digits: Dataset, weights: Weights, tmp_path: Path
) -> None:
    before = copy.deepcopy(weights.tensors)
    assert measured(weights, digits, tmp_path, 2) == done.info["rows"]
    assert all(torch.equal(before[name], value) for name, value in weights.tensors.items())


def untrained(name: str) -> Weights:
    made = networks.build(name, 10)
    look = Preprocessing(8, "crop", 8, (0.3,) * 3, (0.37,) * 3)
    return Weights(made.state_dict(), name, load("digits").classes, look)


def test_a_plain_network_is_studied_where_it_can_be(digits: Dataset, tmp_path: Path) -> None:
    found = measured(untrained("plain14-cifar"), digits, tmp_path)
    kinds = {each["lesion"] for each in found}
    assert kinds == {"whole", "drop", "several", "swap"}
    assert [each["block"] for each in found if each["lesion"] == "drop"] == [
        "stage1.0", "stage1.1", "stage2.1", "stage3.1",
    ]  # fmt: skip
    assert conclude(Factors(), found).holds is None  # it guesses


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("nin-cifar", {}, "has no blocks"),
        ("plain14-cifar", {"blocks": ("stage2.0",)}, "cannot be dropped"),
        ("resnet8-cifar", {"blocks": ("stage1.7",)}, 'no block "stage1.7"'),
        ("resnet14-cifar", {"removed": (5,)}, "choose from 1 to 4"),
        ("resnet14-cifar", {"lengths": (7,)}, "0 to 6 branches"),
        ("plain14-cifar", {"lengths": (1,)}, "a single path"),
    ],
)
def test_what_cannot_be_studied_is_refused(
    digits: Dataset, name: str, given: dict[str, object], says: str
) -> None:
    made = untrained(name)
    if name == "nin-cifar":
        made = replace(made, preprocessing=Preprocessing(32, "crop", 32))
    budget = inquiry.budget_of("1m", 1)
    with pytest.raises(Refused, match=says):
        inquiry.prepare("lesion", digits, given, budget, made)


def test_a_network_of_other_classes_is_refused(digits: Dataset, weights: Weights) -> None:
    other = replace(weights, classes=tuple("abcdefghij"))
    with pytest.raises(Refused, match="other classes"):
        inquiry.prepare("lesion", digits, {}, inquiry.budget_of("1m", 1), other)


def test_a_small_budget_asks_about_fewer_images(digits: Dataset, weights: Weights) -> None:
    short = inquiry.prepare("lesion", digits, {}, inquiry.budget_of("1s", 1), weights)
    full = inquiry.prepare("lesion", digits, {}, inquiry.budget_of("full", 1), weights)
    assert short.factors.tested == 100
    assert full.factors.tested == 120
    assert (full.factors.seeds or 0) > (short.factors.seeds or 0)
    assert len(STUDY.cells(short.factors)) == 1 + 9 + 2 * 5 * 7 + 10
