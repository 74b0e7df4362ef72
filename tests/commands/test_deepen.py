"""deepen: a deeper network of the same error, and training that goes on from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from residua import checkpoints
from residua.networks.deepened import difference

Call = Callable[..., Any]


def test_a_run_becomes_deeper_and_keeps_its_error(trained: Path, residua: Call) -> None:
    answer = residua("deepen", trained, "--to", "14")
    assert answer.code == 0, answer.err
    assert "difference  0" in answer.out
    next_line = answer.out.rstrip().splitlines()[-1]
    assert next_line == "next: residua train digits --init resnet14-cifar.safetensors"

    old, new = (
        checkpoints.open_weights(path) for path in (trained, Path("resnet14-cifar.safetensors"))
    )
    assert (new.network, new.classes) == ("resnet14-cifar", old.classes)
    assert new.preprocessing == old.preprocessing
    size = old.preprocessing.size
    assert difference(old.build(), new.build(), torch.randn(4, 3, size, size)) == 0.0
    files = [
        residua("evaluate", model, "digits", "--json").json
        for model in (trained, "resnet14-cifar.safetensors")
    ]
    keys = [key for key in files[0] if "error" in key]
    assert keys and all(files[0][key] == files[1][key] for key in keys)


def test_training_goes_on_from_there(trained: Path, residua: Call) -> None:
    written = residua("deepen", trained, "--to", "14", "--out", "deep.safetensors", "--json")
    assert written.json["max_difference"] == 0.0
    assert (written.json["from"], written.json["network"]) == ("resnet8-cifar", "resnet14-cifar")
    assert written.json["depth"] == 14
    # At a rate of zero weights stay, so that what is measured is where the training begins.
    words = ("--init", "deep.safetensors", "lr=0", "epochs=1", "threads=1", "select=last")
    answer = residua("train", "digits", *words, "--json", "--runs", "on")
    assert answer.code == 0, answer.err
    before = checkpoints.read_weights(Path("deep.safetensors"))
    after = checkpoints.open_weights(Path("on") / "digits-resnet14-cifar-1")
    assert after.network == "resnet14-cifar"
    for name, tensor in after.tensors.items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(tensor, before.tensors[name]), name


def test_what_cannot_be(trained: Path, residua: Call) -> None:
    assert "not more than the 8" in residua("deepen", trained, "--to", "8").err
    answer = residua("deepen", trained, "--to", "15")
    assert answer.code == 2 and "nearest are 14 and 20" in answer.err
    assert not list(Path().glob("*.safetensors"))  # nothing appears that was not verified
    assert residua("deepen", trained, "--to", "14", "--out", "deep.pth").code == 2
    assert residua("deepen", trained, "--to", "14").code == 0
    assert "a file already" in residua("deepen", trained, "--to", "14").err
    assert residua("deepen", trained, "--to", "14", "--force").code == 0
    assert residua("deepen", trained).code == 2
    assert residua("deepen", "nothing.safetensors", "--to", "14").code == 2
