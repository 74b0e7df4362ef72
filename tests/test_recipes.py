"""Recipes: the papers' values, ranges, and the choices that fill in what is left open."""

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.automatic import Facts, automatic
from residua.errors import Refused
from residua.recipes import RANGES, RECIPES, Recipe

FACTS = Facts(
    "pets",
    7_000,
    224,
    "crop",
    "photographs",
    cores=8,
    cuda=False,
    unfused="",
    bf16=False,
    memory=10**10,
    depth=0,
    steady=True,
    patches=False,
)


def test_paper_cifar_is_section_4_2() -> None:
    recipe = RECIPES["paper-cifar"][1]
    assert (recipe.steps, recipe.batch, recipe.learning_rate) == (64_000, 128, 0.1)
    assert (recipe.momentum, recipe.weight_decay, recipe.decay_norms) == (0.9, 1e-4, True)
    assert [at * 64_000 for at in recipe.milestones] == [32_000, 48_000]
    assert (recipe.schedule, recipe.warmup, recipe.label_smoothing) == ("step", 0, 0)
    assert (recipe.crop, recipe.flip, recipe.normalize, recipe.color) == (
        "pad",
        True,
        "pixel",
        "none",
    )
    assert (recipe.optimizer, recipe.nesterov) == ("caffe-sgd", False)
    assert recipe.precision == "fp32"
    assert recipe.validation == 0.1  # "a 45k/5k train/val split"


def test_paper_imagenet_is_section_3_4() -> None:
    recipe = RECIPES["paper-imagenet"][1]
    assert (recipe.steps, recipe.batch, recipe.learning_rate) == (600_000, 256, 0.1)
    assert (recipe.momentum, recipe.weight_decay, recipe.size) == (0.9, 1e-4, 224)
    assert (recipe.crop, recipe.flip, recipe.color) == ("scale", True, "pca")
    assert recipe.precise_norms > 0


@pytest.mark.parametrize("name", RANGES)
def test_values_out_of_range_are_refused_by_name(name: str) -> None:
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(Recipe(**{name: value}), name) == value
    for value in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf), math.nan):
        with pytest.raises(Refused) as refused:
            Recipe(**{name: value})
        assert refused.value.what == f"{name} must be between {low:g} and {high:g}"
        assert refused.value.where == f"received {name} = {value!r}"


@pytest.mark.parametrize("milestones", [(0.5, 1.5), (-0.1,), (math.nan,), (32_000, 48_000)])
def test_milestones_are_shares_of_the_run(milestones: tuple[float, ...]) -> None:
    with pytest.raises(Refused, match="shares of the run"):
        Recipe(milestones=milestones)


@pytest.mark.parametrize("grow", [(0.0, 1.0), (0.5, 1.01), (-1.0,), (math.nan,)])
def test_images_grow_by_shares_of_their_size(grow: tuple[float, ...]) -> None:
    with pytest.raises(Refused, match="shares of their size"):
        Recipe(grow=grow)


def test_every_number_has_a_range() -> None:
    numbers = {
        field.name
        for field in fields(Recipe)
        if isinstance(field.default, float)
        or (isinstance(field.default, int) and not isinstance(field.default, bool))
        or field.type in (float | None, int | None)
    }
    assert numbers == set(RANGES)


def test_every_setting_says_what_it_is() -> None:
    for field in fields(Recipe):
        assert field.metadata["help"] and field.metadata["group"], field.name


@pytest.mark.parametrize(
    "lengths", [{"epochs": 1, "steps": 5}, {"steps": 5, "time": 60}, {"epochs": 1, "time": 60}]
)
def test_a_run_has_one_length(lengths: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="exclude each other"):
        Recipe(**lengths)


CHOSEN = {field.name for field in fields(Recipe) if field.default is None}
OFF = {"init", "epochs", "steps", "time", "checkpoint_every"}  # None has a meaning of its own
some_facts = st.builds(
    Facts,
    data=st.sampled_from(["digits", "pets"]),
    images=st.integers(1, 10**7),
    size=st.integers(1, 600),
    fit=st.sampled_from(["crop", "pad", "squash"]),
    why=st.just("because"),
    cores=st.integers(1, 256),
    cuda=st.booleans(),
    bf16=st.booleans(),
    memory=st.integers(0, 10**12),
    depth=st.integers(0, 1_202),
)
some_settings = st.fixed_dictionaries(
    {},
    optional={
        "network": st.just("plain20-cifar"),
        "batch": st.integers(1, 999),
        "size": st.integers(1, 300),
        "flip": st.booleans(),
        "workers": st.integers(0, 5),
        "steps": st.integers(1, 99),
        "validation": st.sampled_from([0.0, 0.5]),
        "in_memory": st.booleans(),
    },
)


@given(facts=some_facts, settings=some_settings, name=st.sampled_from(sorted(RECIPES)))
def test_automatic_completes_a_recipe_and_changes_nothing_else(
    facts: Facts, settings: dict[str, Any], name: str
) -> None:
    before = replace(RECIPES[name][1], **{"steps": None} | settings)
    after, reasons = automatic(before, facts)

    assert [key for key in CHOSEN - OFF if getattr(after, key) is None] == []
    assert sum(getattr(after, key) is not None for key in ("epochs", "steps", "time")) == 1
    changed = {f.name for f in fields(Recipe) if getattr(after, f.name) != getattr(before, f.name)}
    assert set(reasons) <= changed <= set(reasons) | {"warmup_error"}
    assert all(getattr(before, key) is None for key in changed) and all(reasons.values())
    assert automatic(after, facts) == (after, {})


def test_what_the_data_decides() -> None:
    digits = FACTS._replace(data="digits", images=1_400, size=8)
    chosen, _ = automatic(Recipe(), digits)
    assert (chosen.network, chosen.flip, chosen.crop) == ("resnet20-cifar", False, "none")
    assert (chosen.in_memory, chosen.precision, chosen.device) == (True, "fp32", "cpu")
    small, _ = automatic(Recipe(), FACTS._replace(size=32, images=50_000))
    assert (small.crop, small.flip, small.batch, small.validation) == ("pad", True, 128, 0.05)
    assert automatic(Recipe(), FACTS)[0].network == "resnet18"
    assert automatic(Recipe(), FACTS._replace(cuda=True))[0].network == "resnet50"
    assert automatic(Recipe(size=32), FACTS)[0].network == "resnet20-cifar"


def test_the_papers_warm_up_belongs_to_deep_networks() -> None:
    """A rate of 0.01 until the training error is below 80 % (2016a, section 4.2)."""
    paper = RECIPES["paper-cifar"][1]
    for depth, error in ((0, 0.0), (56, 0.0), (110, 0.8), (1_202, 0.8)):
        assert automatic(paper, FACTS._replace(depth=depth))[0].warmup_error == error
    given_ = replace(paper, warmup_error=0.5)
    assert automatic(given_, FACTS._replace(depth=110))[0].warmup_error == 0.5


@given(images=st.integers(1, 10**6))
def test_few_images_get_enough_steps(images: int) -> None:
    chosen, _ = automatic(Recipe(), FACTS._replace(images=images))
    batch, epochs = chosen.batch or 0, chosen.epochs or 0
    assert batch & (batch - 1) == 0 and 4 <= batch <= 128
    if images > 80:
        assert images // batch >= 20
    assert epochs * max(1, images / batch) >= min(800, 200 * images / batch) * 0.9


def test_images_stay_on_disk_where_they_do_not_fit() -> None:
    small = FACTS._replace(size=32, images=50_000)
    for memory, fits in ((10**10, True), (10**8, False)):
        assert automatic(Recipe(), small._replace(memory=memory))[0].in_memory is fits


def test_the_rate_follows_batch_and_optimizer() -> None:
    def rate(batch: int, **settings: Any) -> float | None:
        recipe = replace(RECIPES["quick"][1], batch=batch, **settings)
        return automatic(recipe, FACTS)[0].learning_rate

    assert (rate(128), rate(64), rate(32)) == (0.2, 0.1, 0.05)
    assert rate(128, optimizer="adamw") == 0.002
    assert (rate(512, optimizer="muon"), rate(128, optimizer="muon")) == (0.1, 0.05)
    assert rate(128, init="weights.safetensors") == 0.2
    assert rate(128, learning_rate=0.3) == 0.3


def test_without_norms_the_rate_is_a_tenth() -> None:
    recipe, reasons = automatic(
        replace(RECIPES["quick"][1], batch=128), FACTS._replace(steady=False)
    )

    assert recipe.learning_rate == 0.02
    assert "without norms" in reasons["learning_rate"]


def test_muon_takes_larger_batches_where_there_are_images_enough() -> None:
    """Its products cost as much for a small batch as for a large one."""
    fast = RECIPES["fast"][1]
    many = FACTS._replace(size=32, images=50_000)
    assert (automatic(fast, many)[0].batch, automatic(Recipe(), many)[0].batch) == (512, 128)
    assert automatic(fast, many._replace(images=1_400))[0].batch == 64
    photographs = FACTS._replace(size=224, images=50_000)
    found = [automatic(recipe, photographs)[0].batch for recipe in (fast, Recipe())]
    assert found == [128, 32]
