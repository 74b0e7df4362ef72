"""Engines: each gives what the network gives, or says what it cannot do and what would."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residua import api, datasets, engines, networks
from residua.checkpoints import Weights
from residua.engines import ENGINES, PRECISIONS, Choice, Job, chosen, compiler, views
from residua.engines.fixed import any_number
from residua.errors import Refused
from residua.execution import Execution, execution
from residua.images import Preprocessing
from residua.networks.unpickle import read_pickled
from residua.networks.weights import to_ours
from residua.predictor import Pixels, Predictor
from residua.protocols import Protocol
from residua.recipes import Recipe

# Greatest difference of a logit, as a share of the greatest one.
CLOSE = {"fp32": 1e-5, "bf16": 0.03, "fp16": 0.01, "int8": 0.2}
PACKAGES = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "nncf")}
WAYS = [
    pytest.param(
        name,
        precision,
        id=f"{name}-{precision}",
        marks=[pytest.mark.slow] if name == "compiled" else [],  # it takes half a minute
    )
    for name, engine in ENGINES.items()
    for precision in engine.precisions
    if precision != "fp16"
]


@pytest.fixture(autouse=True)
def every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arithmetic that this processor lacks is imitated by torch, slowly."""
    monkeypatch.setattr(engines, "precisions", lambda device: PRECISIONS)
    monkeypatch.setattr(chosen, "precisions", lambda device: PRECISIONS)


@pytest.fixture(autouse=True, scope="module")
def fresh_compilations() -> Iterator[None]:
    yield
    torch.compiler.reset()


def here(engine: str) -> None:
    """Skip where an engine is not installed."""
    for package in PACKAGES.get(engine, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the engine {engine} needs {package}")
    if engine == "compiled" and not compiles():
        pytest.skip("no working compiler")


def compiles() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except RuntimeError:
        return False


def on_one_thread() -> Execution:
    return execution(Recipe(device="cpu", precision="fp32", threads=1))


@pytest.fixture(scope="module")
def digits() -> list[Pixels]:
    split = datasets.load("digits").splits["test"]
    return [split.pixels(index) for index in range(90)]


def asked(weights: Weights, digits: list[Pixels], engine: str, precision: str) -> Predictor:
    here(engine)
    choice = Choice(engine, precision, len(digits))
    return Predictor(weights, on_one_thread(), choice=choice, calibration=digits[:60])


@torch.inference_mode()
def logits(predictor: Predictor, pixels: list[Pixels]) -> Tensor:
    return predictor(predictor.inputs(pixels))


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_a_trained_network_answers_alike(
    finished: api.Run, digits: list[Pixels], engine: str, precision: str
) -> None:
    """Whatever the number of pictures, 90 in steps of 64 among them."""
    weights = finished.weights()
    plain = logits(Predictor(weights, on_one_thread()), digits)
    predictor = asked(weights, digits, engine, precision)
    found = logits(predictor, digits)
    assert found.dtype == torch.float32
    assert (found - plain).abs().max() < CLOSE[precision] * plain.abs().max()
    same = (found.argmax(1) == plain.argmax(1)).float().mean()
    assert same == 1 if precision == "fp32" else same > 0.9
    for count in (1, 3, 64, 65):
        again = logits(predictor, digits[:count])
        assert (again - found[:count]).abs().max() < CLOSE[precision] * plain.abs().max()
    assert predictor.scores(digits).sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("engine", ["torch", "folded"])
def test_a_step_grows_with_the_threads_that_have_caches(finished: api.Run, engine: str) -> None:
    """Four photographs for each; what is larger falls out of its caches."""
    for threads in (1, 3):
        run_on = execution(Recipe(device="cpu", precision="fp32", threads=threads))
        predictor = Predictor(finished.weights(), run_on, choice=Choice(engine, "fp32", 90))
        assert predictor.most == threads * 4 * 224 * 224


class Published(NamedTuple):
    """A network that others trained, and what it says of test images."""

    weights: Weights
    pixels: list[Pixels]
    samples: list[Pixels]  # of the training images
    labels: NDArray[np.int64]
    plain: NDArray[np.int64]  # the answers of the network as it is written


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Published:
    """ResNet-20 on 512 test images of CIFAR-10."""
    data = datasets.load(shared_data / "cifar-10-binary.tar.gz")
    tensors = read_pickled(shared_data / "weights/cifar-resnet20-option-a.th")
    look = Preprocessing(32, "crop", 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ours = to_ours(tensors, networks.build("resnet20-cifar"))
    weights = Weights(ours, "resnet20-cifar", data.classes, look)
    test, train = data.splits["test"], data.splits["train"]
    pixels = [test.pixels(index) for index in range(512)]
    plain = Predictor(weights, on_one_thread()).scores(pixels).argmax(1)
    samples = [train.pixels(index) for index in range(128)]
    return Published(weights, pixels, samples, test.labels[:512].numpy(), plain)


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_published_weights_lose_no_answer(
    published: Published, engine: str, precision: str
) -> None:
    here(engine)
    choice = Choice(engine, precision, 512)
    asked = Predictor(
        published.weights, on_one_thread(), choice=choice, calibration=published.samples
    )
    found = asked.scores(published.pixels).argmax(1)
    right = (published.plain == published.labels).mean()
    assert right > 0.9
    same = (published.plain == found).mean()
    assert same == 1 if precision == "fp32" else same > 0.98
    assert abs((found == published.labels).mean() - right) <= 0.01


def test_auto_asks_close_calls_again(finished: api.Run, digits: list[Pixels]) -> None:
    weights = finished.weights()
    predictor = Predictor(weights, on_one_thread(), choice=Choice("auto", images=90))
    assert "bf16" in predictor.notes[0] and "close calls again in fp32" in predictor.notes[0]
    plain = logits(Predictor(weights, on_one_thread()), digits)
    assert torch.equal(logits(predictor, digits).argmax(1), plain.argmax(1))


def test_close_calls_are_those_that_rounding_may_turn() -> None:
    def fast(batch: Tensor) -> Tensor:
        return torch.tensor([[9.0, 1.0, 0.0], [4.0, 3.9, 0.0], [3.9, 4.0, -5.0]])[: len(batch)]

    seen = []

    def exact(batch: Tensor) -> Tensor:
        seen.append(batch.flatten().tolist())
        return torch.tensor([[0.0, 1.0, 2.0]]).repeat(len(batch), 1)

    found = chosen.surely(fast, exact)(torch.tensor([[10.0], [11.0], [12.0]]))
    assert seen == [[11.0, 12.0]]
    assert found.argmax(1).tolist() == [0, 2, 2]
    seen.clear()
    chosen.surely(fast, exact)(torch.tensor([[10.0]]))
    assert seen == []


def test_auto_compiles_where_there_is_much_to_do(
    finished: api.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def compiled(job: Job) -> engines.Ready:
        made.append(job.precision)
        return views.folded_view(job)

    monkeypatch.setattr(chosen, "compiled", compiled)
    monkeypatch.setattr(chosen, "seconds_each", lambda run, job: 0.5)
    weights, run_on = finished.weights(), on_one_thread()
    few, many = (Predictor(weights, run_on, choice=Choice("auto", images=n)) for n in (239, 241))
    assert made == ["bf16"]
    assert few.notes[0].startswith("folded, bf16: 239 pictures")
    assert many.notes[0].startswith("compiled, bf16")
    exact = Predictor(weights, run_on, choice=Choice("auto", "fp32", 239))
    assert exact.notes[0].startswith("folded, fp32") and "again" not in exact.notes[0]
    layers = Predictor(weights, run_on, choice=Choice("auto", images=999, features=True))
    assert "scores are taken from the layers" in layers.notes[0] and made == ["bf16"]


def test_a_failed_compilation_is_told_and_kept(
    finished: api.Run, digits: list[Pixels], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(view: nn.Module, **settings: object) -> nn.Module:
        raise RuntimeError("g++ is not what it was")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    weights = finished.weights()
    predictor = Predictor(weights, on_one_thread(), choice=Choice("compiled"))
    (log,) = tmp_path.iterdir()
    assert "g++ is not what it was" in log.read_text()
    assert predictor.notes[0] == f"not compiled, see {log}: the engine folded runs instead"
    plain = Predictor(weights, on_one_thread()).scores(digits)
    assert np.allclose(predictor.scores(digits), plain, atol=1e-5)


def test_without_onednn_the_folded_view_is_told_and_runs(
    finished: api.Run, digits: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "possible", lambda: False)
    predictor = Predictor(finished.weights(), on_one_thread(), choice=Choice("folded"))
    assert predictor.notes == ("this torch lacks oneDNN: sums and ReLUs take a pass each",)
    plain = Predictor(finished.weights(), on_one_thread()).scores(digits)
    assert np.allclose(predictor.scores(digits), plain, atol=1e-5)


@pytest.mark.parametrize("engine", PACKAGES)
def test_a_missing_extra_says_how_to_get_it(
    finished: api.Run, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGES[engine]:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Refused, match=f"the engine {engine} needs an extra") as refused:
        Predictor(finished.weights(), on_one_thread(), choice=Choice(engine))
    assert refused.value.fix == f'pip install "residua[{ENGINES[engine].extra}]"'


def test_what_no_machine_has_is_refused() -> None:
    with pytest.raises(Refused, match='no engine named "openvin"') as refused:
        engines.check(Choice("openvin"))
    assert refused.value.fix == 'did you mean "openvino"?'
    with pytest.raises(Refused, match="onnxruntime has no precision bf16") as refused:
        engines.check(Choice("onnxruntime", "bf16"))
    assert refused.value.fix == "it has fp32"


def test_what_this_machine_lacks_is_refused(
    finished: api.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "precisions", lambda device: ("fp32", "int8"))
    with pytest.raises(Refused, match="this machine has no fast bf16") as refused:
        Predictor(finished.weights(), on_one_thread(), choice=Choice("openvino", "bf16"))
    assert refused.value.fix == "it has fp32, int8"
    elsewhere = replace(on_one_thread(), device=torch.device("cuda"))
    job = Job(finished.network(), elsewhere, "fp32", (1, 3, 8, 8))
    with pytest.raises(Refused, match="openvino does not run on cuda") as refused:
        engines.ready("openvino", job)
    assert refused.value.fix == "it runs on cpu"


@pytest.mark.parametrize("engine", ["compiled", "onnxruntime", "openvino"])
def test_features_and_scales_need_the_layers(finished: api.Run, engine: str) -> None:
    for protocol, choice in (
        (Protocol("multi-scale", scales=(8, 12)), Choice(engine)),
        (Protocol(), Choice(engine, features=True)),
    ):
        with pytest.raises(Refused, match="gives scores of whole images only") as refused:
            Predictor(finished.weights(), on_one_thread(), protocol, choice)
        assert "torch or folded" in refused.value.fix


def test_features_of_logits_alone_are_refused(finished: api.Run, digits: list[Pixels]) -> None:
    predictor = Predictor(finished.weights(), on_one_thread(), choice=Choice("auto"))
    with pytest.raises(Refused, match="gives no feature maps"):
        predictor.features(digits[:2])


def test_int8_without_pictures_is_refused(finished: api.Run) -> None:
    here("openvino")
    with pytest.raises(Refused, match="int8 needs pictures"):
        Predictor(finished.weights(), on_one_thread(), choice=Choice("openvino", "int8"))


def test_one_shape_takes_any_number_and_no_other_size() -> None:
    network = networks.build("resnet8-cifar").eval()
    sizes = []

    def run(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return batch.mean((2, 3))

    logits = any_number(run, Job(network, on_one_thread(), "fp32", (4, 3, 6, 6)))
    batch = torch.arange(9 * 3 * 36.0).view(9, 3, 6, 6)
    assert torch.equal(logits(batch), batch.mean((2, 3)))
    assert sizes == [4, 4, 4]
    with pytest.raises(Refused, match="6x6 pixels"):
        logits(torch.zeros(1, 3, 6, 7))


def test_threads_are_not_bound(finished: api.Run, digits: list[Pixels]) -> None:
    """A process that ran an engine may still use every core, and so may what it starts."""
    before = set(os.listdir("/proc/self/task"))  # what calibration leaves has threads of its own
    free = os.sched_getaffinity(0)
    for engine in ENGINES:
        if all(map(importlib.util.find_spec, PACKAGES.get(engine, ()))) and engine != "compiled":
            asked(finished.weights(), digits, engine, "fp32").scores(digits[:2])
    started = set(os.listdir("/proc/self/task")) - before
    assert os.sched_getaffinity(0) == free
    assert all(os.sched_getaffinity(int(task)) == free for task in started)


def test_the_table_loads_no_torch() -> None:
    check = "import sys; from residua import engines; engines.check(engines.Choice('auto')); "
    done = subprocess.run([sys.executable, "-c", check + "sys.exit('torch' in sys.modules)"])
    assert done.returncode == 0
