"""audit: the departures of a training, on a terminal and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]


def test_departures_of_a_configuration(tmp_path: Path, residua: Call) -> None:
    table = {"arch": "resnet20", "dataset": "cifar10", "epochs": 200, "batch-size": 128, "x\n": 1}
    (tmp_path / "config.json").write_text(json.dumps(table))
    answer = residua("audit", "config.json")
    assert answer.code == 0, answer.err
    assert "may change it: steps 78200" in answer.out
    assert "section 4.2" in answer.out
    assert "no setting of this name" in answer.out
    found = residua("audit", "config.json", "--json").json
    assert [each["setting"] for each in found["departures"]] == ["steps"]
    assert {"data", "batch"} <= {each["setting"] for each in found["agrees"]}
    assert "momentum" in {each["setting"] for each in found["unknown"]}


def test_a_run(trained: Path, residua: Call) -> None:
    found = residua("audit", trained, "--against", "paper-cifar", "--json").json
    settings = {each["setting"] for each in found["departures"]}
    assert {"data", "steps", "schedule", "size", "depth", "label_smoothing"} <= settings
    assert not found["unknown"]


def test_what_cannot_be_audited(tmp_path: Path, residua: Call) -> None:
    assert residua("audit", "nowhere").code == 2
    assert residua("audit", tmp_path).code == 3
    (tmp_path / "config.json").write_text("{}")
    answer = residua("audit", "config.json")
    assert answer.code == 2
    assert "--against paper-cifar" in answer.err
    answer = residua("audit", "config.json", "--against", "paper-cfar")
    assert answer.code == 2
    assert 'did you mean "paper-cifar"' in answer.err
