"""The C++ norm against torch in float64, and how its library is built, found and refused."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from residua.rewrites import native, norm_relu

HAS_LIBRARY, BUILT = native.library()[0] is not None, native.library()[1]
needs_library = pytest.mark.skipif(not HAS_LIBRARY, reason=BUILT)
# Largest relative error (in the 2-norm) of a result that is rounded to a type once.
ROUNDING = {torch.float32: 3e-6, torch.bfloat16: 4e-3}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty folder for the library, and no memory of the one that other tests use."""
    monkeypatch.setattr(native, "cache_from_source", lambda source: str(tmp_path / "c" / "x.pyc"))
    monkeypatch.setattr(native.tempfile, "gettempdir", lambda: str(tmp_path))
    native.library.cache_clear()
    yield tmp_path
    native.library.cache_clear()


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm().clamp_min(1e-12))


def table(shape: tuple[int, ...], dtype: torch.dtype, seed: int, mean: float = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=draw) + mean
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def expected(
    norm: nn.BatchNorm2d, x: Tensor, residual: Tensor | None, relu: bool, dy: Tensor, y: Tensor
) -> dict[str, Tensor]:
    """The same in float64; where y is so near zero that rounding decides, as it was decided."""
    wide = nn.BatchNorm2d(x.shape[1], eps=norm.eps, momentum=norm.momentum, dtype=torch.float64)
    wide.load_state_dict(norm.state_dict())
    leaves = [x.double().requires_grad_(), torch.zeros_like(x).double().requires_grad_()]
    if residual is not None:
        leaves[1] = residual.double().requires_grad_()
    before = wide(leaves[0]) + leaves[1]
    after = torch.where(y > 0, before, 0) if relu else before
    after.backward(dy.double())
    found = {"y": before.detach().clamp_min(0) if relu else before.detach()}
    gradients = (leaves[0].grad, leaves[1].grad, wide.weight.grad, wide.bias.grad)
    for name, gradient in zip(("dx", "dr", "dw", "db"), gradients, strict=True):
        assert gradient is not None
        found[name] = gradient
    assert wide.running_mean is not None and wide.running_var is not None
    return found | {"mean": wide.running_mean, "variance": wide.running_var}


def make_norm(channels: int, seed: int = 0, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=momentum)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(channels, generator=draw) + 0.5)
        norm.bias.copy_(torch.randn(channels, generator=draw) / 4)
    return norm


def check(
    shape: tuple[int, int, int, int], dtype: torch.dtype, residual: bool, relu: bool, mean: float
) -> None:
    norm = make_norm(shape[1])
    x, dy = table(shape, dtype, 1, mean), table(shape, dtype, 2)
    r = table(shape, dtype, 3) if residual else None
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    y, stats = norm_relu.forward(norm, x, r, relu)
    twin = make_norm(shape[1])
    twin.load_state_dict(before)
    wanted = expected(twin, x, r, relu, dy, y)
    hidden = y if residual and relu else None
    found = norm_relu.backward(stats, (dy, None), x, hidden, relu)
    close = ROUNDING[dtype]
    # x - mean has as many digits fewer as the mean is larger than the deviation
    digits = max(1.0, abs(mean))
    assert relative(y, wanted["y"]) < close * (1 if dtype is torch.bfloat16 else digits) + 1e-6
    assert relative(found.x, wanted["dx"]) < 3 * close + 1e-6 * digits
    if found.residual is not None:
        assert relative(found.residual, wanted["dr"]) < close
    assert torch.allclose(found.bias.double(), wanted["db"], rtol=1e-4, atol=1e-3)
    assert torch.allclose(found.weight.double(), wanted["dw"], rtol=1e-4, atol=1e-3 * digits)
    assert norm.running_mean is not None and norm.running_var is not None
    assert torch.allclose(norm.running_mean.double(), wanted["mean"], rtol=1e-5, atol=1e-5)
    assert torch.allclose(norm.running_var.double(), wanted["variance"], rtol=1e-4, atol=1e-6)


@needs_library
@settings(max_examples=60)
@given(
    batch=st.integers(2, 5),
    channels=st.integers(1, 130),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    half=st.booleans(),
    residual=st.booleans(),
    relu=st.booleans(),
)
def test_any_shape_agrees_with_float64(
    batch: int, channels: int, height: int, width: int, half: bool, residual: bool, relu: bool
) -> None:
    dtype = torch.bfloat16 if half else torch.float32
    if batch * height * width < 8:  # statistics of fewer values are ill-conditioned
        height = width = 3
    check((batch, channels, height, width), dtype, residual, relu, 0)


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [16, 24, 64, 200, 512])
def test_many_rows_agree_with_float64(channels: int, dtype: torch.dtype) -> None:
    check((8, channels, 28, 28), dtype, True, True, 0)


@needs_library
@pytest.mark.parametrize("channels", [7, 16, 96])
def test_a_mean_far_from_zero_costs_no_variance(channels: int) -> None:
    check((8, channels, 16, 16), torch.float32, False, True, 3000.0)


@needs_library
def test_a_constant_channel_has_no_variance() -> None:
    norm = make_norm(4)
    x = torch.full((4, 4, 3, 3), 123.456).contiguous(memory_format=torch.channels_last)
    y, stats = norm_relu.forward(norm, x, None, False)
    assert torch.allclose(y, norm.bias.view(1, -1, 1, 1).expand_as(y), atol=5e-3)
    assert torch.allclose(stats[1], torch.tensor(norm.eps).rsqrt())


@needs_library
def test_numbers_that_are_not_finite_show() -> None:
    norm = make_norm(16)
    x = table((2, 16, 4, 4), torch.bfloat16, 0)
    x[1, 3, 2, 2] = torch.nan
    y, _ = norm_relu.forward(norm, x, None, True)
    assert y[:, 3].isnan().all() and not y[:, :3].isnan().any()


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [5, 16, 130])
def test_threads_change_no_bit(channels: int, dtype: torch.dtype) -> None:
    shape = (16, channels, 24, 24)
    x, dy, r = (table(shape, dtype, seed) for seed in range(3))

    def run(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        norm = make_norm(channels)
        y, stats = norm_relu.forward(norm, x, r, True)
        found = norm_relu.backward(stats, (dy, r), x, y, True)
        assert norm.running_var is not None and found.residual is not None
        return [y, stats, norm.running_var, *(part for part in found if part is not None)]

    for one, three in zip(run(1), run(3), strict=True):
        assert torch.equal(one, three)


@needs_library
def test_two_gradients_count_as_their_sum_and_one_may_be_written_over() -> None:
    norm, x = make_norm(16), table((4, 16, 8, 8), torch.float32, 0)
    dy, other, r = (table((4, 16, 8, 8), torch.float32, seed) for seed in (1, 2, 3))
    y, stats = norm_relu.forward(norm, x, r, True)
    apart = norm_relu.backward(stats, (dy, other), x, y, True)
    at_once = norm_relu.backward(stats, (dy + other, None), x, y, True)
    assert all(torch.allclose(a, b) for a, b in zip(apart, at_once, strict=True) if a is not None)
    kept = norm_relu.backward(stats, (dy, None), x, None, True)
    lost = norm_relu.backward(stats, (dy, None), x, None, True, overwrite=True)
    assert torch.equal(kept.x, lost.x) and lost.x.data_ptr() == dy.data_ptr()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_those_of_torch(momentum: float | None) -> None:
    ours, theirs = make_norm(6, momentum=momentum), make_norm(6, momentum=momentum)
    for seed in range(3):
        x = table((4, 6, 5, 5), torch.float32, seed, mean=seed)
        norm_relu.norm_relu(ours, x)
        theirs(x)
    for name, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value), name


@pytest.mark.parametrize("kind", ["fp64", "nchw", "eval", "untracked", "not affine"])
def test_what_is_not_for_the_library_takes_the_way_of_torch(kind: str) -> None:
    norm = nn.BatchNorm2d(
        8, affine=kind != "not affine", track_running_stats=kind != "untracked"
    ).train(kind != "eval")
    x = torch.randn(4, 8, 5, 5)
    x = x if kind == "nchw" else x.contiguous(memory_format=torch.channels_last)
    if kind == "fp64":
        norm, x = norm.double(), x.double()
    assert torch.equal(norm_relu.norm_relu(norm, x), nn.functional.relu(norm(x)))


# The library.


def test_a_missing_compiler_gives_the_torch_path_and_a_line(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(fresh))
    found, why = native.library()
    assert found is None and "there is no compiler" in why and "\n" not in why
    norm, x = make_norm(8), table((4, 8, 5, 5), torch.float32, 0)
    assert torch.allclose(norm_relu.norm_relu(norm, x), nn.functional.relu(norm(x)))


def test_a_broken_compiler_gives_a_line_and_keeps_what_it_said(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = fresh / "broken"
    broken.write_text("#!/bin/sh\necho 'no such header: sky.h'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    found, why = native.library()
    assert found is None and why.startswith("no C++ norm: the compiler failed") and "\n" not in why
    log = Path(why.rpartition(" ")[2])
    assert "sky.h" in log.read_text()
    assert [path for path in (fresh / "c").iterdir() if path.suffix != ".log"] == []


@needs_library
def test_it_is_built_once_and_names_what_it_depends_on(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, where = native.library()
    path = Path(where)
    assert found is not None and path.parent == fresh / "c"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    made = path.stat().st_mtime_ns
    native.library.cache_clear()
    assert native.library()[1] == where and path.stat().st_mtime_ns == made
    command = native.compiler(os.environ.get("CXX", ""))
    assert native.digest(command, ["-O3"]) != native.digest(command, ["-O2"])
    monkeypatch.setattr(native, "processor", lambda: b"another")
    assert native.digest(command, ["-O3"]) not in where


@needs_library
@pytest.mark.parametrize("wrong", ["mode", "link", "owner"])
def test_a_library_of_others_is_not_loaded(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def copied(path: Path, command: list[str], flags: list[str]) -> None:
        shutil.copyfile(BUILT, path)
        path.chmod(0o700)

    monkeypatch.setattr(native, "build", copied)
    path = Path(native.library()[1])
    if wrong == "mode":
        path.chmod(0o722)
    elif wrong == "link":
        path.symlink_to(path.rename(fresh / "elsewhere.so"))
    elif os.getuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        pytest.skip("only root can give a file away")
    assert not native.trusted(path)
    native.library.cache_clear()
    found, where = native.library()
    assert found is not None and Path(where).parent == fresh / f"residua-{os.getuid()}"


def test_a_folder_that_others_write_to_is_not_used(fresh: Path) -> None:
    (fresh / "c").mkdir()
    (fresh / "c").chmod(0o777)
    assert fresh / "c" not in list(native.folders())


@needs_library
def test_several_processes_may_build_at_once(tmp_path: Path) -> None:
    script = "from residua.rewrites import native; found, where = native.library(); print(where)"
    compiler = tmp_path / "compiler"  # it takes a while, and writes to the last argument
    compiler.write_text(f'#!/bin/sh\nfor last; do :; done\nsleep 0.3\ncp {BUILT} "$last"\n')
    compiler.chmod(0o755)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "c"), "CXX": str(compiler)}
    running = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    where = {process.communicate()[0].decode().strip() for process in running}
    assert len(where) == 1
    path = Path(where.pop())
    assert path.is_relative_to(tmp_path) and native.load(path)
    assert [other.name for other in path.parent.iterdir() if "norm_relu-" in other.name] == []


def test_it_can_be_turned_off(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUA_NATIVE", "0")
    assert native.library() == (None, "no C++ norm: RESIDUA_NATIVE=0 turns it off")
