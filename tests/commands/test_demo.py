"""demo: the whole job, here in one epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]


def test_the_whole_job(residua: Call) -> None:
    answer = residua("demo", "--epochs", 1, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    run = Path(found["run"])
    assert found["test"]["total"] == 360
    assert found["test"]["interval"][0] <= found["test"]["error"] <= found["test"]["interval"][1]
    assert found["problems"] == 0
    assert len(found["predictions"]) == 8
    for row in found["predictions"]:
        assert Path(row["name"]).parent == run / "pictures"
        assert Path(row["name"]).read_bytes().startswith(b"\x89PNG")
    assert (run / "report.html").is_file()
    assert len(found["study"]["rows"]) == 20
    assert found["study"]["holds"] in (True, False, None)
    assert Path(found["study"]["figure"]).is_file()
    parts = ["check  ", "train  ", "saved step=20 ", "predict  ", "result  ", "next: ", "study  "]
    places = [answer.err.index(part) for part in parts]
    assert places == sorted(places)
