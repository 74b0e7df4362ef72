"""Settings: five layers in their order, strict keys and types, and files that read back exactly."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua import settings
from residua.errors import BadData, Refused
from residua.recipes import RANGES, RECIPES, Recipe
from residua.settings import FIELDS, named, read_config, resolve


def one(name: str, value: Any) -> Any:
    return getattr(resolve("quick", [("flag", {name: value})])[0], name)


def test_layers_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUA_BATCH", "16")
    monkeypatch.setenv("RESIDUA_SEED", "5")
    monkeypatch.setenv("RESIDUA_NOTHING", "of ours")
    layers = [
        ("file", {"batch": 8, "seed": 4, "momentum": 0.8}),
        ("environment", settings.environment()),
        ("flag", {"seed": 6}),
    ]
    recipe, sources = resolve("quick", layers)
    assert (recipe.seed, recipe.batch, recipe.momentum) == (6, 16, 0.8)
    assert recipe.weight_decay == RECIPES["quick"][1].weight_decay
    assert recipe.ema == Recipe().ema
    names = ("seed", "batch", "momentum", "weight_decay", "ema")
    expected = ["flag", "environment", "file", "recipe quick", "default"]
    assert [sources[name] for name in names] == expected
    assert set(sources) == set(FIELDS)


def test_auto_is_finetune_where_weights_are_given() -> None:
    assert named("auto", []) == "quick"
    assert named("auto", [("flag", {"init": "w.safetensors"})]) == "finetune"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"epochs": 3}, (3, None, None)),
        ({"time": "2m"}, (None, None, 120)),
        ({"steps": 7}, (None, 7, None)),
        ({"epochs": None}, (None, 64_000, None)),
    ],
)
def test_a_length_takes_the_place_of_the_recipes(
    given_: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    recipe, _ = resolve("paper-cifar", [("flag", given_)])
    assert (recipe.epochs, recipe.steps, recipe.time) == expected


def test_two_lengths_in_one_layer_are_refused() -> None:
    with pytest.raises(Refused, match="exclude"):
        resolve("quick", [("flag", {"epochs": 1, "time": "1m"})])
    stronger = resolve("quick", [("file", {"epochs": 1}), ("flag", {"time": "1m"})])[0]
    assert (stronger.epochs, stronger.time) == (None, 60)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch", "64", 64),
        ("batch", "1e3", 1000),
        ("batch", 64.0, 64),
        ("batch", "auto", None),
        ("learning_rate", "0.1", 0.1),
        ("learning_rate", 1, 1.0),
        ("flip", "no", False),
        ("flip", 1, True),
        ("flip", "TRUE", True),
        ("nesterov", False, False),
        ("milestones", "0.3,0.6", (0.3, 0.6)),
        ("milestones", [0.5], (0.5,)),
        ("crop", "pad", "pad"),
        ("crop", None, None),
        ("network", "resnet20-cifar", "resnet20-cifar"),
        ("seed", 2**53 + 1, 2**53 + 1),
        ("seed", str(2**61 + 1), 2**61 + 1),
        ("time", 90, 90),
        ("time", "90", 90),
        ("time", "90s", 90),
        ("time", "20m", 1200),
        ("time", "1.5h", 5400),
        ("time", "1h30m", 5400),
        ("time", "2D", 172_800),
    ],
)
def test_values_come_to_their_type(name: str, value: Any, expected: Any) -> None:
    result = one(name, value)
    assert result == expected
    assert type(result) is type(expected) or name == "time"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("batch", "many", "a whole number"),
        ("batch", 1.5, "a whole number"),
        ("batch", True, "a whole number"),
        ("batch", [1], "a whole number"),
        ("batch", "nan", "a whole number"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", "inf", "a number"),
        ("learning_rate", int("9" * 400), "a number"),
        ("nesterov", "perhaps", "true or false"),
        ("nesterov", None, "true or false"),
        ("milestones", "0.5,x", "numbers such as"),
        ("milestones", 3, "numbers such as"),
        ("milestones", "", "numbers such as"),
        ("crop", "padd", "one of none, pad, shift, area, scale"),
        ("schedule", "sgd", "one of step, cosine"),
        ("network", 5, "a name"),
        ("seed", None, "a whole number"),
        ("time", "1 fortnight", "a duration such as"),
        ("time", "m", "a duration such as"),
        ("time", "1h30", "a duration such as"),
        ("time", -5, "a duration such as"),
        ("time", True, "a duration such as"),
    ],
)
def test_values_of_another_type_are_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(Refused) as refused:
        one(name, value)
    assert refused.value.what.startswith(f"{name} must be {words}")
    assert refused.value.where == f"flag: received {value!r}"


def test_misspelled_names_and_choices_are_told_the_nearest() -> None:
    with pytest.raises(Refused) as refused:
        resolve("quick", [("run.toml", {"epohcs": 3})])
    assert str(refused.value).splitlines() == [
        'error: no setting named "epohcs"',
        "where: run.toml",
        'fix:   did you mean "epochs"?',
    ]
    with pytest.raises(Refused) as refused:
        one("schedule", "cosin")
    assert refused.value.fix == 'did you mean "cosine"?'
    with pytest.raises(Refused) as refused:
        resolve("paper-cifer", [])
    assert refused.value.fix == 'did you mean "paper-cifar"?'


def numbers(name: str) -> st.SearchStrategy[Any]:
    low, high = RANGES[name]
    whole = "int" in str(FIELDS[name].type)
    return st.integers(int(low), int(high)) if whole else st.floats(low, high)


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values that a field may have, by its declared type."""
    kinds = settings.kinds_of(settings.FIELDS[name])
    alternatives: list[st.SearchStrategy[Any]] = []
    for kind in kinds:
        if choices := settings.choices_of(kind):
            alternatives.append(st.sampled_from(choices))
        elif kind is type(None):
            alternatives.append(st.none())
        elif kind is bool:
            alternatives.append(st.booleans())
        elif name == "network":
            alternatives.append(st.sampled_from(["resnet50-v1.5", "plain20-cifar"]))
        elif kind is str:
            alternatives.append(st.text(min_size=1).filter(lambda text: text != "auto"))
        elif kind in (int, float):
            alternatives.append(numbers(name))
        else:
            alternatives.append(
                st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=4).map(tuple)
            )
    return st.one_of(alternatives)


LENGTHS = ("epochs", "steps", "time")
recipes = st.builds(
    lambda values, length: Recipe(
        **{k: v for k, v in values.items() if k not in set(LENGTHS) - length}
    ),
    st.fixed_dictionaries({field.name: values_of(field.name) for field in fields(Recipe)}),
    st.sampled_from([{name} for name in LENGTHS]),
)


@given(recipe=recipes, name=st.sampled_from(["auto", *RECIPES]))
def test_a_stored_recipe_reads_back_exactly(recipe: Recipe, name: str) -> None:
    stored = json.loads(json.dumps(settings.as_json(recipe, {}, name)))
    assert stored["recipe"] == name
    back, _ = resolve(stored["recipe"], [("recipe.json", stored["settings"])])
    assert back == recipe
    assert asdict(back) == asdict(recipe)


TOML = """
recipe = "paper-cifar"
epochs = 2
milestones = [0.5, 0.75]
flip = false
time = "auto"
"""


def test_config_files(tmp_path: Path) -> None:
    plain, toml, run = (tmp_path / name for name in ("a.json", "a.toml", "recipe.json"))
    plain.write_text('{"epochs": 2, "recipe": "quick"}')
    toml.write_text(TOML)
    run.write_text(json.dumps(settings.as_json(Recipe(epochs=2), {"epochs": "flag"}, "finetune")))

    assert read_config(plain) == ("quick", {"epochs": 2})
    name, values = read_config(toml)
    assert (name, values["milestones"], values["flip"]) == ("paper-cifar", [0.5, 0.75], False)
    assert resolve(name or "", [("file", values)])[0].epochs == 2
    name, values = read_config(run)
    assert name == "finetune"
    assert resolve("finetune", [("file", values)])[0] == Recipe(epochs=2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"[1, 2]"),
        ("a.json", b"{"),
        ("a.json", b"\xff\xfe\x00"),
        ("a.json", b"[" * 100_000),
        ("a.json", b'{"settings": 5}'),
        ("a.json", b'{"recipe": 5}'),
        ("a.json", b'{"recipe": ["quick"]}'),
        ("a.json", b'{"settings": {"epochs": 1}, "epohcs": 5}'),
        ("a.toml", b"epochs = "),
        ("a.toml", b"a = " + b"[" * 100_000),
        ("missing.json", None),
        (".", None),
    ],
)
def test_hostile_configs_are_bad_data(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadData) as bad:
        read_config(path)
    assert bad.value.where == str(path)
