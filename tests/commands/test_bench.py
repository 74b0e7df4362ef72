"""`residua bench`: rates, what was chosen why, and what holds a training up."""

from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]

WORDS = ("bench", "digits", "--network", "resnet8-cifar", "--batch", "64", "--threads", "1")


def test_it_names_rates_choices_and_the_bottleneck(residua: Call) -> None:
    answer = residua(*WORDS)
    assert answer.code == 0
    for word in ("loader", "training", "plain way", "gain", "memory", "bottleneck", "precision"):
        assert word in answer.out
    assert "resnet8-cifar" in answer.err or "resnet8-cifar" in answer.out


def test_json_holds_what_a_program_needs(residua: Call) -> None:
    found = residua(*WORDS, "--json").json
    assert found["bottleneck"] in ("loader", "step", "memory")
    assert set(found["images_per_second"]) == {"loader", "both", "plain"}
    assert found["plan"]["keep"] == "all" and found["plan"]["bytes"] > 0
    assert found["settings"]["network"] == "resnet8-cifar"


def test_too_little_memory_gets_a_leaner_plan_or_a_refusal(residua: Call) -> None:
    words = ("bench", "digits", "--network", "resnet56-cifar", "--batch", "64", "--processes", "1")
    plan = residua(*words, "--memory", "16M", "--json").json["plan"]
    assert plan["keep"] != "all" and plan["bytes"] <= 16 * 2**20
    refused = residua(*words, "--memory", "2M")
    assert refused.code == 4 and "needs at least" in refused.err


def test_more_cores_than_there_are_is_refused_with_what_there_is(residua: Call) -> None:
    for flag in ("--threads", "--processes"):
        refused = residua("bench", "digits", flag, "1000")
        assert refused.code == 2 and "it has" in refused.err
