"""Gates: verdicts from rows, what is measured on them, and networks that stay as they are."""

import copy
from pathlib import Path

import pytest
import tiny
import torch

from residua import inquiry, networks, plots
from residua.factors import Factors
from residua.networks.residual import Gated
from residua.question import Budget
from residua.studies import data_size, gates
from residua.sweeps import Row

BIASES = Factors(biases=(0.0, -3.0, -6.0), depths=(56,), seeds=5, epochs=30.0)
OPEN, CLOSED = [0.6, 0.7, 0.65, 0.61, 0.7], [0.01, 0.02, 0.01, 0.03, 0.02]
SHARES = Factors(
    families=("highway", "residual"), depths=(20,), shares=(0.1, 1.0), seeds=5, epochs=9.0
)


def bias_rows(errors: dict[float | None, list[float]]) -> list[Row]:
    gate = {"gates": [[0.01, 0.03], [0.02, 0.02]], "classes": ["cat", "dog"]}
    return [
        {"depth": 56, "bias": bias, "seed": seed, "status": "done", "train_error": error,
         "test_error": error, **(gate if bias is not None else {})}
        for bias, values in errors.items()
        for seed, error in enumerate(values)
    ]  # fmt: skip


def test_gates_that_must_begin_closed() -> None:
    found = gates.conclude(BIASES, bias_rows({0.0: OPEN, -3.0: OPEN, -6.0: CLOSED, None: CLOSED}))
    assert found.holds is True and found.p_value == pytest.approx(1 / 32)
    assert "2.0 % of their input on average" in found.words
    assert found.numbers["residual"]["mean"] == pytest.approx(0.018)


def test_gates_that_must_begin_open() -> None:
    found = gates.conclude(BIASES, bias_rows({0.0: CLOSED, -6.0: OPEN}))
    assert found.holds is False


def test_no_verdict_on_gates_by_luck() -> None:
    assert gates.conclude(BIASES, bias_rows({0.0: OPEN, -6.0: OPEN})).holds is None
    few = gates.conclude(BIASES, bias_rows({0.0: OPEN[:4], -6.0: CLOSED[:4]}))
    assert few.holds is None and "5 seeds are the fewest" in few.words
    assert gates.conclude(Factors(biases=(0.0,), depths=(56,)), []).holds is None
    assert gates.conclude(BIASES, []).holds is None


def test_a_gate_is_measured_for_each_class() -> None:
    given = {"depths": "8", "biases": "0,-4", "epochs": "1", "seeds": "1"}
    asked = inquiry.prepare("gates", tiny.digits(64, 40), given, Budget("5m", 300, 1))
    network = networks.build("resnet14-cifar-join=gate-bias=-4", 10).eval()
    before, hooks = copy.deepcopy(network.state_dict()), []
    found = gates.gates(asked.subject, network, asked.subject.test)
    blocks = [module for module in network.modules() if isinstance(module, Gated)]
    hooks = [hook for block in blocks for hook in block.gate._forward_hooks]
    assert found.shape == (len(blocks), 10) and not hooks and not network.training
    for path, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[path])
    for block in blocks:  # a gate that sees nothing is sigmoid(bias)
        torch.nn.init.zeros_(block.gate.layer.weight)
    known = gates.gates(asked.subject, network, asked.subject.test)
    torch.testing.assert_close(known, torch.full_like(known, torch.tensor(-4.0).sigmoid()))


def test_a_sweep_over_biases(tmp_path: Path) -> None:
    given = {"depths": "8", "biases": "0,-4", "epochs": "1", "seeds": "1", "batch": "32"}
    asked = inquiry.prepare("gates", tiny.digits(64, 40), given, Budget("5m", 300, 1))
    found = []
    for place, cell in enumerate(gates.cells(asked.factors)):
        folder = tmp_path / str(place)
        folder.mkdir()
        row = gates.measure(asked.subject, asked.factors, cell, folder)
        found.append({**cell.values, "status": "done", **row})
    assert [row["bias"] for row in found] == [0.0, -4.0, None]
    assert 0.4 < found[0]["gate"] < 0.6 and found[1]["gate"] < 0.05 and "gate" not in found[2]
    for picture in gates.STUDY.figures.values():
        for theme in ("light", "dark"):
            assert plots.render(picture.draw(asked.factors, found, theme), "svg")


def test_figures_of_a_sweep_in_which_all_failed() -> None:
    table = [
        {"depth": 56, "bias": bias, "seed": 0, "status": "diverged: it did"} for bias in (0.0, None)
    ]
    for picture in gates.STUDY.figures.values():
        assert plots.render(picture.draw(BIASES, table, "light"), "svg")


def share_rows(gap: dict[float, list[float]], train: float = 0.0) -> list[Row]:
    return [
        {"family": family, "depth": 20, "share": share, "seed": seed, "status": "done",
         "multiply_adds": 105 if family == "highway" else 100,
         "test_error": 0.3 + value * (family == "highway"),
         "train_error": 0.01 + train * (family == "highway")}
        for share, values in gap.items()
        for seed, value in enumerate(values)
        for family in ("highway", "residual")
    ]  # fmt: skip


WIDE, NARROW = [0.1, 0.12, 0.11, 0.13, 0.1], [0.01, 0.0, 0.01, 0.02, 0.0]


def test_highway_networks_that_need_more_images() -> None:
    found = data_size.conclude(SHARES, share_rows({0.1: WIDE, 1.0: NARROW}, train=0.02))
    assert found.holds is True and found.p_value == pytest.approx(1 / 32)
    assert "+11.2 points" in found.words and "with 10 % of the images" in found.words
    assert found.numbers["train gap at 1"]["mean"] == pytest.approx(0.02)
    assert any("5.0 % more multiply-adds" in line for line in found.limits)
    assert data_size.conclude(SHARES, share_rows({0.1: NARROW, 1.0: WIDE})).holds is False


def test_no_verdict_on_images_by_luck() -> None:
    assert data_size.conclude(SHARES, share_rows({0.1: WIDE, 1.0: WIDE})).holds is None
    few = data_size.conclude(SHARES, share_rows({0.1: WIDE[:4], 1.0: NARROW[:4]}))
    assert few.holds is None and "5 seeds are the fewest" in few.words
    assert data_size.conclude(SHARES, []).holds is None
    one = [row for row in share_rows({0.1: WIDE, 1.0: NARROW}) if row["family"] == "highway"]
    assert data_size.conclude(SHARES, one).holds is None


def test_larger_shares_hold_the_smaller_ones() -> None:
    split = tiny.digits().splits["train"]
    names = [
        {data_size.part(split, share, seed=3).name(i) for i in range(round(share * 240))}
        for share in (0.1, 0.5, 1.0)
    ]
    assert [len(each) for each in names] == [24, 120, 240]
    assert names[0] < names[1] < names[2]
    other = data_size.part(split, 0.1, seed=4)
    assert {other.name(i) for i in range(24)} != names[0]
    again = data_size.repeated(data_size.part(split, 0.1, seed=3), 240)
    assert len(again) == 240 and {again.name(i) for i in range(240)} == names[0]


def test_a_sweep_over_shares(tmp_path: Path) -> None:
    given = {"depths": "8", "shares": "0.25,1", "epochs": "1", "seeds": "1", "batch": "32"}
    asked = inquiry.prepare("data-size", tiny.digits(128, 40), given, Budget("5m", 300, 1))
    found = []
    for place, cell in enumerate(data_size.cells(asked.factors)):
        folder = tmp_path / str(place)
        folder.mkdir()
        row = data_size.measure(asked.subject, asked.factors, cell, folder)
        found.append({**cell.values, "status": "done", **row})
    assert [row["train_images"] for row in found] == [32, 128, 32, 128]
    assert 1 < found[0]["multiply_adds"] / found[2]["multiply_adds"] < 1.1
    for theme in ("light", "dark"):
        drawn = data_size.STUDY.figures["data-size"].draw(asked.factors, found, theme)
        assert b"highway" in plots.render(drawn, "svg")
