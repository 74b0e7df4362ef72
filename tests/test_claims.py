"""claims: judged by numbers, and a network without its shortcuts turns the right ones red."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from residua import networks, studies
from residua.claims import (
    CLAIMS,
    CONFIRMED,
    NOT_RUN,
    REFUTED,
    Finding,
    check_of,
    counts,
    initial,
    ledger,
    named,
    trainings,
)
from residua.claims.evidence import Evidence, Found, both, decided, finished
from residua.errors import Refused
from residua.execution import using_threads
from residua.networks.residual import JOINS, plain
from residua.question import Budget

SHIPPED = ("resnet20-digits",)
INSTANT = tuple(name for name, claim in CLAIMS.items() if not claim.needs)


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Evidence]:
    with using_threads(1):
        yield Evidence(tiny.digits(), tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed and few images: directions are the same."""
    monkeypatch.setattr(initial, "SEEDS", range(1))
    monkeypatch.setattr(initial, "IMAGES", 4)


def judge(name: str, evidence: Evidence) -> Finding:
    return check_of(CLAIMS[name])(evidence)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("C1", CONFIRMED),
        ("C2", CONFIRMED),
        ("C3", REFUTED),
        ("C7", CONFIRMED),
        ("C9", CONFIRMED),
        ("C12", CONFIRMED),
        ("C13", CONFIRMED),
        ("C18", CONFIRMED),
        ("C19", REFUTED),
    ],
)
def test_claims_that_take_seconds(name: str, status: str, evidence: Evidence, quick: None) -> None:
    found = judge(name, evidence)
    assert found.status == status
    assert any(char.isdigit() for char in found.evidence)


@pytest.mark.parametrize(
    ("name", "status"),
    [("C7", CONFIRMED), ("C2", CONFIRMED), ("C12", REFUTED), ("C13", REFUTED)],
)
def test_without_shortcuts_the_right_claims_fail(
    name: str, status: str, evidence: Evidence, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Residual networks built as plain ones: their counts stay, their ways for gradients do not."""
    monkeypatch.setitem(JOINS, "residual", plain)
    assert judge(name, evidence).status == status


def test_a_layer_that_does_something_refutes_the_construction(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(*args: Any) -> Any:
        deep = honest(*args)
        with torch.no_grad():
            deep.features.stage3[-1].branch.conv2.weight.add_(1e-3)
            deep.features.stage3[-1].branch.norm2.weight.fill_(1.0)
        return deep

    honest = counts.deepened
    monkeypatch.setattr(counts, "deepened", noisy)
    assert judge("C9", evidence).status == REFUTED


def test_more_parameters_in_shortcuts_refute_their_equality(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = ("plain20-cifar", "resnet20-cifar-shortcut=B")
    monkeypatch.setattr(counts, "TWINS", (pair,))
    found = judge("C7", evidence)
    assert found.status == REFUTED
    assert "272,474 against 269,722" in found.evidence


# Fabricated rows: what the studies would leave.

ENDS = {  # training and test error by family and depth
    ("plain", 20): (0.02, 0.10),
    ("plain", 56): (0.20, 0.25),
    ("plain", 110): (0.85, 0.86),
    ("residual", 20): (0.01, 0.10),
    ("residual", 56): (0.005, 0.08),
    ("residual", 110): (0.01, 0.09),
}
SWAP = {"plain": "residual", "residual": "plain"}


def degradation(swapped: bool = False, seeds: int = 5) -> Found:
    rows = []
    for (family, depth), (train, test) in ENDS.items():
        for seed in range(seeds):
            noise = 0.001 * seed
            start = 0.9 if family == "plain" else 0.5
            rows.append(
                {
                    "family": SWAP[family] if swapped else family,
                    "depth": depth,
                    "seed": seed,
                    "status": "done",
                    "train_error": train + noise,
                    "test_error": test + noise,
                    "curve": [[1, start, start], [2, train + noise, test]],
                }
            )
    return Found(rows, "runs/d-degradation-1", {})


@pytest.mark.parametrize(
    ("name", "status", "without"),
    [
        ("C4", CONFIRMED, REFUTED),
        ("C5", CONFIRMED, NOT_RUN),
        ("C8", CONFIRMED, REFUTED),
        ("C15", CONFIRMED, REFUTED),
    ],
)
def test_the_degradation_study_decides(
    name: str, status: str, without: str, evidence: Evidence
) -> None:
    assert judge(name, evidence).status == NOT_RUN
    evidence.found["degradation"] = degradation()
    found = judge(name, evidence)
    assert (found.status, found.source) == (status, "runs/d-degradation-1")
    evidence.found["degradation"] = degradation(swapped=True)
    assert judge(name, evidence).status != CONFIRMED
    evidence.found["degradation"] = degradation(seeds=2)
    if name != "C15":  # an interval over two seeds may do
        assert judge(name, evidence).status == NOT_RUN


def test_a_study_of_other_depths_says_nothing_about_56_layers(evidence: Evidence) -> None:
    known = degradation()
    rows = [row for row in known.rows if row["depth"] == 20]
    rows += [{**row, "depth": 8} for row in rows]
    evidence.found["degradation"] = Found(rows, "a", {})
    assert judge("C4", evidence).status == NOT_RUN
    assert "8 to 20 layers only" in judge("C4", evidence).evidence


def labelled(**errors: float) -> Found:
    rows = [
        {"label": label.replace("_", " ").replace("over", "/"), "seed": seed, "status": "done",
         "train_error": error * (1 + seed / 50), "test_error": error * (1 + seed / 50),
         "share": error * (1 + seed / 50)}
        for label, error in errors.items()
        for seed in range(5)
    ]  # fmt: skip
    return Found(rows, "f", {})


def test_trainings_decide(evidence: Evidence) -> None:
    norms = {"batch_1": 0.02, "batch_1over32": 0.05, "none_1": 0.9, "none_1over32": 0.2}
    evidence.found["norms"] = labelled(**norms)
    assert judge("C22", evidence).status == CONFIRMED
    evidence.found["norms"] = labelled(**{**norms, "none_1": 0.02, "batch_1": 0.9})
    assert judge("C22", evidence).status == REFUTED
    evidence.found["twins"] = labelled(plain_18=0.2, plain_34=0.3, residual_18=0.2, residual_34=0.1)
    assert judge("C6", evidence).status == CONFIRMED
    evidence.found["twins"] = labelled(plain_18=0.2, plain_34=0.3, residual_18=0.2, residual_34=0.3)
    assert judge("C6", evidence).status == REFUTED
    evidence.found["decay"] = labelled(with_decay=0.1, without_decay=0.3)
    assert judge("C14", evidence).status == CONFIRMED
    evidence.found["bottlenecks"] = labelled(basic=0.1, bottleneck=0.101)
    assert judge("C17", evidence).status == CONFIRMED
    evidence.found["bottlenecks"] = labelled(basic=0.1, bottleneck=0.2)
    assert judge("C17", evidence).status == REFUTED
    rows = labelled(**{"110": 0.05, "1202": 0.08}).rows
    fitted = [{**row, "train_error": 0.001} for row in rows]
    evidence.found["deepest"] = Found(fitted, "f", {})
    assert judge("C16", evidence).status == CONFIRMED
    evidence.found["deepest"] = Found(list(rows), "f", {})
    assert judge("C16", evidence).status == REFUTED


def test_protocols_need_three_kinds_that_help(evidence: Evidence) -> None:
    row = {"status": "done", "network": "a", "difference": -0.02, "p_value": 1e-6, "total": 2000}
    rows = [{**row, "protocol": kind} for kind in ("ten-crop", "multi-scale", "ensemble")]
    evidence.found["protocols"] = Found(rows, "f", {})
    assert judge("C21", evidence).status == CONFIRMED
    evidence.found["protocols"] = Found(rows[:2], "f", {})
    assert judge("C21", evidence).status == NOT_RUN
    evidence.found["protocols"] = Found([*rows[:2], {**rows[2], "difference": 0.02}], "f", {})
    assert judge("C21", evidence).status == REFUTED


def test_construction_and_data_size_decide(evidence: Evidence) -> None:
    ends = {"shallow": 0.02, "built": 0.05, "scratch": 0.4}
    rows = [
        {"family": "plain", "start": start, "seed": seed, "status": "done",
         "train_error": error * (1 + seed / 50)}
        for start, error in ends.items() for seed in range(5)
    ]  # fmt: skip
    evidence.found["construction"] = Found(rows, "c", {})
    assert judge("C10", evidence).status == CONFIRMED
    gaps = {
        ("highway", 0.1): 0.5,
        ("highway", 1.0): 0.2,
        ("residual", 0.1): 0.3,
        ("residual", 1.0): 0.1,
    }
    rows = [
        {"family": family, "share": share, "depth": 20, "seed": seed, "status": "done",
         "train_error": error * (1 + seed / 40), "test_error": error * (1 + seed / 50)}
        for (family, share), error in gaps.items() for seed in range(5)
    ]  # fmt: skip
    evidence.found["data-size"] = Found(rows, "s", {})
    assert judge("C20", evidence).status == CONFIRMED
    evidence.found["responses"] = Found([], "r", {"holds": False, "verdict": "No."})
    assert judge("C11", evidence) == Finding(REFUTED, "No.", "r")


def test_rows_of_another_version_are_no_evidence(evidence: Evidence) -> None:
    evidence.found["degradation"] = Found([{"family": "plain"}], "d", {})
    found = ledger.judged("C5", evidence)
    assert found.status == NOT_RUN
    assert "depth" in found.evidence


def test_parts_and_seeds() -> None:
    yes = decided(dict.fromkeys(range(5), 0.1), "a", "f")
    no = decided(dict.fromkeys(range(5), -0.1), "b", "f")
    assert (yes.status, no.status) == (CONFIRMED, REFUTED)
    few = decided(dict.fromkeys(range(3), 0.1), "c", "f")
    assert few.status == NOT_RUN
    assert few.evidence.startswith("Not enough evidence")
    assert decided({}, "d", "f").status == NOT_RUN
    assert both(yes, yes).status == CONFIRMED
    assert both(yes, no).status == both(few, no).status == REFUTED
    assert both(yes, few).status == NOT_RUN


def test_every_claim_has_a_check_and_every_need_a_way() -> None:
    assert list(CLAIMS) == [f"C{number}" for number in range(1, 23)]
    for claim in CLAIMS.values():
        assert callable(check_of(claim))
        for need in claim.needs:
            assert need in ledger.NEEDS
            assert need in (*trainings.SETS, "protocols") or need in studies.STUDIES
    assert named(("c4", "C1")) == ("C1", "C4")
    with pytest.raises(Refused, match="C23"):
        named(("C23",))


def test_finished_studies_are_found_on_the_same_data_only(evidence: Evidence) -> None:
    def leave(name: str, **changes: Any) -> None:
        info = {
            "study": "degradation",
            "status": "done",
            "data": {"fingerprint": evidence.data.fingerprint},
            "budget": {"seconds": 300.0},
            "started": "2026-01-01",
            "rows": list(degradation().rows),
        }
        (evidence.runs / name).mkdir()
        (evidence.runs / name / "study.json").write_text(json.dumps(info | changes))

    leave("other", data={"fingerprint": "x"})
    leave("running", status="running")
    (evidence.runs / "bad").mkdir()
    (evidence.runs / "bad" / "study.json").write_text("{")
    assert finished(evidence.runs, evidence.data, "degradation") is None
    leave("short")
    leave("long", budget={"seconds": 3600.0}, started="2025-01-01")
    found = finished(evidence.runs, evidence.data, "degradation")
    assert found is not None
    assert Path(found.folder).name == "long"
    events = list(ledger.follow(["C5", "C15"], evidence.data, evidence.runs))
    judged = {event.claim: event.finding for event in events if isinstance(event, ledger.Judged)}
    assert judged["C5"].status == judged["C15"].status == CONFIRMED
    assert judged["C5"].source == str(evidence.runs / "long")


def test_a_budget_goes_to_what_it_can_pay() -> None:
    needs = list(ledger.NEEDS)
    assert list(ledger.shared(needs, None)) == []
    small = dict(ledger.shared(needs, Budget("5m", 300.0, 4)))
    assert "degradation" in small
    assert "deepest" not in small
    assert sum(each.seconds or 0 for each in small.values()) <= 300
    assert set(dict(ledger.shared(needs, Budget("full", None, 4)))) == set(needs)
    assert [*dict(ledger.shared(needs, Budget("1m", 60.0, 4)))] == ["protocols"]


def test_trainings_are_made_once_and_read_again(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"with decay": trainings.Variant("resnet8-cifar", decay=5e-4),
             "without decay": trainings.Variant("resnet8-cifar", decay=0.0)}  # fmt: skip
    monkeypatch.setitem(trainings.SETS, "decay", small)
    monkeypatch.setitem(ledger.NEEDS, "decay", 0.1)
    budget = Budget("1s", 1.0, 1)
    events = list(ledger.follow(["C14"], evidence.data, evidence.runs, budget))
    assert isinstance(events[0], ledger.Began)
    last = events[-1]
    assert isinstance(last, ledger.Judged)
    rows = evidence_rows(evidence, "decay")
    assert {row["label"] for row in rows} == set(small)
    assert all(0 < row["share"] < 100 for row in rows)
    again = list(ledger.follow(["C14"], evidence.data, evidence.runs, budget))
    assert len(again) == 1  # judged from what is there
    assert isinstance(again[0], ledger.Judged)
    assert again[0].finding.source == last.finding.source != ""
    assert trainings.known(evidence.runs, tiny.digits(200), "decay") is None


def test_a_stopped_set_of_trainings_goes_on_as_planned(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"basic": trainings.Variant("resnet8-cifar")}
    monkeypatch.setitem(trainings.SETS, "bottlenecks", one)
    budget = Budget("1s", 1.0, 1)
    first = trainings.follow("bottlenecks", evidence.data, budget, evidence.runs)
    row = next(first).row
    first.close()
    assert trainings.known(evidence.runs, evidence.data, "bottlenecks") is None
    monkeypatch.setattr(trainings, "scaled", lambda *args: pytest.fail("planned anew"))
    again = list(trainings.follow("bottlenecks", evidence.data, budget, evidence.runs))
    assert [each.row for each in again][0] == row
    assert len(evidence_rows(evidence, "bottlenecks")) == len(again) >= 5


def test_the_degradation_study_has_the_depths_of_the_claim(evidence: Evidence) -> None:
    asked = ledger.prepared("degradation", evidence.data, Budget("10s", 10.0, 1))
    assert asked.factors.depths == ledger.CLAIMED
    assert asked.factors.families == ("plain", "residual")


def test_more_time_measures_open_claims_again() -> None:
    short = Found([], "f", {"budget": {"name": "5m", "seconds": 100.0}})
    assert ledger.longer(Budget("1h", 3600.0, 4), short)
    assert ledger.longer(Budget("full", None, 4), short)
    assert ledger.longer(Budget("5m", 300.0, 4), None)
    assert not ledger.longer(Budget("5m", 300.0, 4), short)
    assert not ledger.longer(Budget("60s", 60.0, 4), short)
    full = Found([], "f", {"budget": {"name": "full", "seconds": None}})
    assert not ledger.longer(Budget("1h", 3600.0, 4), full)


def evidence_rows(evidence: Evidence, name: str) -> list[dict[str, Any]]:
    found = trainings.known(evidence.runs, evidence.data, name)
    assert found is not None
    return list(found.rows)


def test_protocols_are_asked_of_networks_that_know_the_classes(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not trainings.weights_of(evidence.data)  # digits are never mirrored in training
    monkeypatch.setattr(trainings, "ASKED", 20)
    monkeypatch.setattr(trainings, "LEAST", 8)
    monkeypatch.setitem(ledger.NEEDS, "protocols", 1)
    names = trainings.weights_of(evidence.data)
    assert tuple(names) == SHIPPED
    list(ledger.follow(["C21"], evidence.data, evidence.runs, Budget("5s", 5.0, 1)))
    rows = evidence_rows(evidence, "protocols")
    assert [row["protocol"] for row in rows] == ["ten-crop", "multi-scale"]
    assert all(row["total"] == 20 and 0 <= row["p_value"] <= 1 for row in rows)


def test_hops_grow_with_shortcuts_only() -> None:
    network = networks.weightless("resnet14-cifar")
    paths = [f"features.{path}" for path in counts.block_paths(network.features)]
    hops = counts.reached(counts.graph(network, counts.SMALL), paths)
    assert len(paths) == 6
    assert hops == [5, 4, 3, 2, 1]
    assert all(later < earlier for earlier, later in pairwise(hops))
