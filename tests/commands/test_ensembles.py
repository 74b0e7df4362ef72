"""evaluate with several networks: together, weighed, and compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from residua import evaluate

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory, residua: Call) -> Path:
    """Two more runs on the digits: the first selected by the images of `trained`."""
    runs = tmp_path_factory.mktemp("others")
    for network, seed in (("plain8-cifar", 0), ("resnet8-cifar", 1)):
        words = ("digits", "--network", network, f"seed={seed}", "epochs=1", "threads=1")
        answer = residua("train", *words, "--runs", runs, "--quiet")
        assert answer.code == 0, answer.err
    return runs


def test_several_networks_answer_together(trained: Path, others: Path, residua: Call) -> None:
    models = (trained, others / "digits-plain8-cifar-1", others / "digits-resnet8-cifar-1")
    answer = residua("evaluate", *models, "--members", "--out", "all", "--json")
    found = answer.json
    names = [row["network"] for row in found["members"]]
    assert names[1] == models[1].name
    assert len(set(names)) == 3  # two folders of one name
    places = (name.replace("/", "-") for name in names)
    alone = [evaluate.read(Path("all") / place / "single.json") for place in places]
    together = evaluate.read(Path("all/single.json"))
    np.testing.assert_allclose(
        together.scores, np.mean([each.scores for each in alone], 0), atol=1e-6
    )
    assert (
        found["wrong"]
        == together.wrong
        == found["gain"]["both_wrong"] + (found["gain"]["only_first_wrong"])
    )
    assert found["weights"] == list(together.weights) and len(found["weights"]) == 3
    assert found["gain"]["second"] == min(found["members"], key=lambda row: row["wrong"])["network"]
    assert found["gain"]["mean_error"] == pytest.approx(np.mean([each.error for each in alone]))
    told = residua("evaluate", *models, "--members").out
    assert "ensemble of 3  360 test images of digits, single view" in told
    assert found["gain"]["verdict"] in told
    assert all(name in told for name in names)
    assert "--out DIR writes it" in told
    reads = json.loads((models[1] / "run.json").read_text())["test_reads"]
    assert any(read["why"] == "residua evaluate, together with 2 more" for read in reads)
    files = sorted(path.name for path in (models[1] / "evaluations").iterdir())
    assert files == ["single.json", "single.npz"]  # of the network alone, from its training
    stored = json.loads((models[1] / "evaluations" / "single.json").read_text())
    assert isinstance(stored["weights"], str)


def test_shares_are_fitted_on_the_images_that_all_runs_selected_by(
    trained: Path, others: Path, residua: Call
) -> None:
    models = (trained, others / "digits-plain8-cifar-1")
    found = residua("evaluate", *models, "--weigh", "--json").json
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert min(found["shares"].values()) >= 0
    other = residua("evaluate", trained, others / "digits-resnet8-cifar-1", "--weigh")
    assert other.code == 2
    assert "did not select by the same images" in other.err


def test_networks_are_compared_on_the_same_images(
    trained: Path, others: Path, residua: Call
) -> None:
    models = (trained, others / "digits-plain8-cifar-1", others / "digits-resnet8-cifar-1")
    found = residua("evaluate", "--compare", *models, "--out", "compared", "--json").json
    assert len(found["evaluations"]) == len(found["comparisons"]) == 3
    wrong = {row["network"]: row["wrong"] for row in found["evaluations"]}
    for pair in found["comparisons"]:
        assert pair["both_wrong"] + pair["only_first_wrong"] == wrong[pair["first"]]
        assert pair["both_wrong"] + pair["only_second_wrong"] == wrong[pair["second"]]
        assert pair["pairs"] == 3 and pair["adjusted_p_value"] >= pair["p_value"]
    alike = f"{trained.parent.name}/{trained.name}", f"{others.name}/{models[2].name}"
    assert wrong.keys() == {alike[0], models[1].name, alike[1]}
    stored = json.loads(Path("compared/comparisons.json").read_text())
    assert stored["comparisons"] == found["comparisons"]
    assert Path("compared/differences.svg").is_file()
    assert evaluate.read(Path("compared/digits-plain8-cifar-1/single.json")).total == 360
    told = residua("evaluate", "--compare", *models)
    assert told.code == 0
    assert found["comparisons"][0]["verdict"] in told.out
