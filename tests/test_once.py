"""Networks that cells share are trained once, whoever asks first and whatever stops it."""

import multiprocessing
from pathlib import Path

import pytest
import tiny
import torch

from residua import checkpoints, once
from residua.errors import Diverged, Refused
from residua.factors import Factors
from residua.inquiry import subject_of
from residua.once import architecture, ready, to_train
from residua.question import Subject

FACTORS = Factors(epochs=3.0, batch=32, learning_rate=0.05)
NAME = "resnet8-cifar"


@pytest.fixture(scope="module")
def subject() -> Subject:
    return subject_of(tiny.digits(), Factors(), None, "cpu")


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return checkpoints.read_weights(run / "weights.safetensors").tensors


def test_names_are_told_from_weights() -> None:
    assert to_train(NAME) and to_train("plain56-cifar")
    assert not to_train("resnet20-digits") and not to_train("runs/digits-resnet20-1")


def test_a_second_cell_finds_what_the_first_trained(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ready(subject, FACTORS, NAME, 0, tmp_path / "first", snapshots=2)
    assert [path.name for path in sorted((run.path / "snapshots").iterdir())] == [
        "00002.safetensors"
    ]
    assert not run.checkpoints.exists()
    monkeypatch.setattr(once, "trained", None)  # nobody trains again
    assert ready(subject, FACTORS, NAME, 0, tmp_path / "second").path == run.path


def test_seeds_are_networks_of_their_own(subject: Subject, tmp_path: Path) -> None:
    quick = Factors(epochs=1.0, batch=32, learning_rate=0.05)
    one, other = (ready(subject, quick, NAME, seed, tmp_path / "cell") for seed in (0, 1))
    assert not torch.equal(
        tensors(one.path)["head.linear.weight"], tensors(other.path)["head.linear.weight"]
    )


def killed_in_training(subject: Subject, cell: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    once.keep = stop  # the first snapshot, after an epoch
    ready(subject, FACTORS, NAME, 0, cell, snapshots=3)


def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    subject: Subject, tmp_path: Path
) -> None:
    whole = ready(subject, FACTORS, NAME, 0, tmp_path / "whole" / "cell", snapshots=3)
    process = multiprocessing.get_context("fork").Process(
        target=killed_in_training, args=(subject, tmp_path / "torn" / "cell")
    )
    process.start()
    process.join()
    assert process.exitcode != 0
    torn = ready(subject, FACTORS, NAME, 0, tmp_path / "torn" / "cell", snapshots=3)
    one, other = tensors(whole.path), tensors(torn.path)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [path.name for path in sorted((torn.path / "snapshots").iterdir())] == [
        path.name for path in sorted((whole.path / "snapshots").iterdir())
    ]


def test_a_divergence_is_remembered(subject: Subject, tmp_path: Path) -> None:
    wild = Factors(epochs=2.0, batch=32, learning_rate=1e6)
    for cell in ("first", "second"):
        with pytest.raises(Diverged):
            ready(subject, wild, "resnet8-cifar-norm=none", 0, tmp_path / cell)
    (folder,) = (tmp_path / "networks").iterdir()
    assert not (folder / "weights.safetensors").exists()


def test_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    whole = subject_of("digits", Factors(), None, "cpu")
    assert architecture(whole, "resnet20-digits") == "resnet20-cifar"
    run = ready(whole, FACTORS, "resnet20-digits", 0, tmp_path / "cell")
    own = checkpoints.open_weights("resnet20-digits").tensors
    assert all(torch.equal(own[name], value) for name, value in tensors(run.path).items())


def test_what_is_neither_network_nor_weights_is_refused(subject: Subject) -> None:
    with pytest.raises(Refused, match="no network named"):
        architecture(subject, "risnet20")


def test_weights_of_other_images_are_refused(subject: Subject) -> None:
    with pytest.raises(Refused, match="other classes"):
        architecture(subject, "resnet20-cifar10")
