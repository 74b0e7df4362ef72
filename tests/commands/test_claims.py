"""claims: the ledger on a terminal and as JSON."""

from collections.abc import Callable
from typing import Any

import pytest

from residua.claims import CLAIMS, initial

Call = Callable[..., Any]


def test_the_ledger(residua: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial, "SEEDS", range(1))
    monkeypatch.setattr(initial, "IMAGES", 2)
    found = residua("claims", "--json").json["claims"]
    assert [each["id"] for each in found] == list(CLAIMS)
    status = {each["id"]: each["status"] for each in found}
    assert (status["C7"], status["C19"], status["C4"]) == ("confirmed", "refuted", "not run")
    assert all(each["evidence"] for each in found)


def test_some_claims(residua: Call) -> None:
    answer = residua("claims", "c18", "C7", "C4")
    assert answer.code == 0, answer.err
    assert "C7  confirmed" in answer.out
    assert "C1 " not in answer.out
    assert "not run    1: C4" in answer.out
    assert "residua claims C4 --budget 1h" in answer.out


def test_what_is_refused(residua: Call) -> None:
    assert 'no claim named "C99"' in residua("claims", "C99").err
    assert residua("claims", "C99").code == 2
    assert residua("claims", "C7", "--workers", "1").code == 2
    assert residua("claims", "C7", "--budget", "soon").code == 2


def test_they_are_listed(residua: Call) -> None:
    answer = residua("list", "claims")
    assert answer.code == 0
    assert all(claim.words in answer.out for claim in CLAIMS.values())
