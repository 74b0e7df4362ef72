"""The shape of the house, read from the source: imports point down, rooms stay small, doors few.

A new module or folder of `residua` needs a place in LEVELS or SIDE_ROOMS below; nothing else.
"""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "residua"
TABLE = "tests/test_architecture.py"

# A module may import what stands above it in this table, never beside or below it.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    (
        "containers",
        "theme",
        "words",
        "intervals",
        "durable",
        "environment",
        "events",
        "interrupt",
    ),
    ("abstention", "calibration", "comparisons", "labels", "resources", "seeds", "temperature"),
    ("jpeg",),
    ("images", "networks", "augment", "distributed", "plots", "pretrained", "recipes"),
    ("rewrites",),
    ("automatic",),
    (
        *("datasets", "settings", "optimizers", "schedule", "execution", "checkpoints", "runs"),
        "factors",
    ),
    ("batches", "protocols", "declared", "engines", "sweeps", "families"),
    ("published", "scoring", "probes", "question"),
    ("evaluate", "learner", "verdicts"),
    ("steps", "predictor"),
    ("team", "testing", "costs"),
    ("feeding",),
    ("training", "pace"),
    ("prepare", "trials"),
    ("workflow", "selection", "pruning", "once", "followed"),
    ("export", "serving", "audit"),
    ("studies",),
    ("inquiry",),
    ("claims",),
    ("api",),
    ("commands", "__init__"),
    ("__main__",),
)
# Rooms beside the stairs, which read what a run left behind: they may import these and no other,
# and only those who ask for a report may import them.
ASKS = ("workflow", "inquiry", "api", "commands")
READS = (
    *("errors", "images", "plots", "runs", "theme", "words"),
    *("abstention", "calibration", "comparisons", "intervals", "labels", "temperature"),
    *("evaluate", "protocols"),
)
SIDE_ROOMS: dict[str, tuple[str, ...]] = {
    "drawing": ("errors", "networks", "theme", "words"),  # of networks, what loads no torch
    "report": READS,
    "viewer": (*READS, "report"),
}
# Down the stairs, and still not allowed: these take any callable from images to logits.
NEVER = {(room, "networks") for room in ("datasets", "batches", "protocols", "evaluate")}
# Folders whose files do not know each other.
STRANGERS = ("studies",)
# Importing these leaves torch alone: a command line answers at once, a report needs no torch.
WITHOUT_TORCH = (
    "residua",
    "residua.abstention",
    "residua.audit",
    "residua.claims",
    "residua.comparisons",
    "residua.drawing",
    "residua.engines",
    "residua.errors",
    "residua.factors",
    "residua.images",
    "residua.labels",
    "residua.plots",
    "residua.recipes",
    "residua.report",
    "residua.runs",
    "residua.seeds",
    "residua.settings",
    "residua.studies",
    "residua.temperature",
)
FILE_LINES, FUNCTION_LINES = 350, 60
JUNK_DRAWERS = {"common", "helper", "helpers", "misc", "util", "utils"}
UNPICKLERS = ("networks/unpickle.py", "datasets/pickles.py")

LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


class Import(NamedTuple):
    """One imported module, and when: "module" (at import), "function" (at a call) or "typing"."""

    name: str
    when: str
    line: int


def dotted(path: Path) -> str:
    parts = ["residua", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """Return the module or folder directly in the package: residua.networks.graph -> networks."""
    return (module.split(".") + ["__init__"])[1]


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


MODULES = {dotted(path) for path in FILES}


def names(node: ast.stmt, module: str, package: bool) -> Iterator[str]:
    """Yield the modules that an import names; `from a import b` is a.b where that is a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = module.split(".")[: None if package else -1]
        parents = base[: len(base) - node.level + 1] if node.level else []
        source = ".".join([*parents, *([node.module] if node.module else [])])
        for alias in node.names:
            part = f"{source}.{alias.name}"
            yield part if part in MODULES else source


def imports(tree: ast.Module, module: str, package: bool = False) -> Iterator[Import]:
    """Yield every import of a file, those inside functions and under TYPE_CHECKING included."""

    def visit(node: ast.AST, when: str) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in names(node, module, package):
                yield Import(name, when, node.lineno)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            when = "function"
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for field, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, "typing" if guarded and field == "body" else when)

    return visit(tree, "module")


def of(path: Path) -> list[Import]:
    return list(imports(parse(path), dotted(path), path.name == "__init__.py"))


def may_import(importer: str, imported: str) -> bool:
    """Look two rooms up in the table; one without a place there is another test's finding."""
    if not {importer, imported} <= LEVEL.keys() | SIDE_ROOMS.keys():
        return True
    if importer in SIDE_ROOMS:
        return imported in SIDE_ROOMS[importer]
    if imported in SIDE_ROOMS:  # from the stairs
        return importer in ASKS
    return LEVEL[imported] < LEVEL[importer] and (importer, imported) not in NEVER


def departures(path: Path) -> Iterator[str]:
    """Yield each import of a file that the table forbids."""
    here = dotted(path)
    for name, when, line in of(path):
        if name.split(".")[0] != "residua":
            continue
        if room(here) == room(name):
            if room(here) in STRANGERS and here.count(".") == name.count(".") == 2:
                yield f"{relative(path)}:{line} imports {name}: they are strangers"
        elif not may_import(room(here), room(name)):
            yield f"{relative(path)}:{line} imports {name} ({when} level): not down the table"


def test_every_module_has_a_place_in_the_table() -> None:
    rooms = {room(dotted(path)) for path in FILES}
    homeless = sorted(rooms - LEVEL.keys() - SIDE_ROOMS.keys())
    assert not homeless, f"give {homeless} a place in LEVELS or SIDE_ROOMS in {TABLE}"


def test_imports_point_down_only() -> None:
    found = [departure for path in FILES for departure in departures(path)]
    assert not found, "\n".join(found)


def test_imports_at_module_level_form_no_cycle() -> None:
    graph = {dotted(p): {i.name for i in of(p) if i.when == "module"} & MODULES for p in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "path", [*FILES, ROOT / "bootstrap.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_and_functions_are_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{path.name} has {lines} lines: it is usually two ideas"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, (
                f"{path.name}:{node.lineno} {node.name}: {length} lines"
            )


def test_no_junk_drawers() -> None:
    places = [path.relative_to(SOURCE).with_suffix("") for path in FILES]
    found = [place for place in places if JUNK_DRAWERS & {part.strip("_") for part in place.parts}]
    assert not found, "a name says what is inside"


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def unsafe(path: Path) -> Iterator[str]:
    """Yield what could run code from a file, or write outside its folder."""
    place, tree = relative(path), parse(path)
    for found in of(path):
        top = found.name.split(".")[0]
        if top in ("tarfile", "dill", "cloudpickle", "shelve", "marshal", "joblib"):
            yield f"{place}:{found.line} imports {top}"
        if top == "pickle" and place not in UNPICKLERS:
            yield f"{place}:{found.line} imports pickle"
    for name, call in calls(tree):
        if name in ("pickle.load", "pickle.loads", "eval", "exec") or name.endswith(".extractall"):
            yield f"{place}:{call.lineno} calls {name}"
        if name == "torch.load" and place != "networks/unpickle.py":
            yield f"{place}:{call.lineno} calls torch.load"
        if any(
            word.arg == "allow_pickle" and ast.unparse(word.value) != "False"
            for word in call.keywords
        ):
            yield f"{place}:{call.lineno} allows pickles"


def test_nothing_from_outside_is_unpickled_or_extracted() -> None:
    found = [line for path in FILES for line in unsafe(path)]
    assert not found, "\n".join(found)


def test_torch_load_is_not_imported_under_another_name() -> None:
    for path in FILES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ImportFrom) and node.module in ("torch", "pickle"):
                assert not {"load", "loads"} & {alias.name for alias in node.names}, path


def test_only_commands_print() -> None:
    silent = [path for path in FILES if room(dotted(path)) != "commands"]
    found = [(relative(p), c.lineno) for p in silent for n, c in calls(parse(p)) if n == "print"]
    assert not found


def test_torchvision_and_timm_are_never_imported() -> None:
    found = [
        (relative(p), i.line)
        for p in FILES
        for i in of(p)
        if i.name.split(".")[0] in ("torchvision", "timm")
    ]
    assert not found, "beside a CPU build of torch they fail or replace it"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_import_leaves_torch_alone(module: str) -> None:
    if module not in MODULES:
        pytest.skip(f"{module} is not written yet")
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or f"importing {module} loads torch"


def test_python_needs_no_more_than_machines_with_gpus_have() -> None:
    """Their images often lack what only the command line needs, and have no network to get it."""
    without = "import sys; sys.modules.update(cyclopts=None, rich=None)"
    check = f"{without}; import residua as rs; rs.train; rs.network('resnet8-cifar')"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names_are_sorted_and_resolve() -> None:
    residua = importlib.import_module("residua")

    assert residua.__all__ == sorted(residua.__all__)
    assert set(residua.__all__) <= set(dir(residua))
    for name in residua.__all__:
        assert getattr(residua, name) is not None
    with pytest.raises(AttributeError):
        getattr(residua, "no such name")


# The reader itself, on files that break the rules.
SAMPLE = """
import residua.api
from residua import errors, load
from ..runs import Run
from . import graph
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from residua.training import Step
else:
    import numpy
def f():
    import torchvision.ops
"""


def test_the_reader_sees_every_kind_of_import() -> None:
    found = [(i.name, i.when) for i in imports(ast.parse(SAMPLE), "residua.networks.weights")]
    assert ("residua.api", "module") in found
    assert ("residua.errors", "module") in found
    assert ("residua", "module") in found
    assert ("residua.runs", "module") in found
    assert ("residua.training", "typing") in found
    assert ("numpy", "module") in found
    assert ("torchvision.ops", "function") in found
    assert any(name.startswith("residua.networks") for name, _ in found)


def test_the_table_says_what_the_design_says() -> None:
    assert may_import("networks", "errors")
    assert may_import("training", "networks")
    assert may_import("commands", "report")
    assert may_import("report", "runs")
    assert not may_import("networks", "datasets")
    assert not may_import("datasets", "networks")
    assert not may_import("evaluate", "networks")
    assert not may_import("batches", "evaluate")
    assert not may_import("steps", "predictor")
    assert not may_import("report", "checkpoints")
    assert not may_import("training", "report")
    assert not may_import("api", "commands")
