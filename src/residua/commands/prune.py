"""`residua prune`: a trained network without the blocks that matter least, trained on."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from residua.commands import subjects
from residua.commands.models import open_model
from residua.commands.terminal import EMPHASIS, GOOD, QUIET, Terminal, place
from residua.errors import Refused
from residua.words import count, listed, percent

if TYPE_CHECKING:
    from residua.checkpoints import Weights
    from residua.commands.models import Model
    from residua.comparisons import Comparison
    from residua.datasets.dataset import Dataset, Split
    from residua.evaluate import Evaluation
    from residua.execution import Execution
    from residua.pruning import Removal, Speedup
    from residua.recipes import Recipe
    from residua.runs import RunDirectory

RECORD = "pruning.json"  # beside the run's other files
TINY = 16  # pixels
GENTLER = 10  # times lower a rate than from random weights
HELD_OUT = 0.05  # of the training images, where the run held none out


@dataclass(frozen=True)
class Options:
    """How far, and how it is trained on."""

    blocks: Annotated[
        int | None, Parameter(metavar="N", help="remove so many blocks, instead of --points")
    ] = None
    points: Annotated[
        float,
        Parameter(
            metavar="X",
            help="remove as many as cost at most so many points of error on held-out images, after "
            "training on [0.5]",
        ),
    ] = 0.5
    epochs: Annotated[float, Parameter(help="passes of training on [6]")] = 6.0
    learning_rate: Annotated[
        float | None,
        Parameter(name=("--learning-rate", "--lr"), help="peak rate [a tenth of train's]"),
    ] = None
    seed: Annotated[int, Parameter(help="of training on; a run's own, if it is one [0]")] = 0
    device: Annotated[str | None, Parameter(help="cpu, cuda or cuda:1")] = None
    runs: Annotated[str, Parameter(metavar="DIR", help="folder for the new run's folder")] = "runs"


USUAL = Options()


class Work(NamedTuple):
    """What is pruned, on what, and how it is trained on."""

    model: "Model"
    dataset: "Dataset"
    recipe: "Recipe"  # says which images are held out
    held_out: "Split"
    run_on: "Execution"
    options: Options


def prune(
    *arguments: str,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Make a trained network shallower and faster: remove the blocks that matter least.

    Blocks are chosen on validation images, or on training images that are held out of what
    follows; never on test images. The smaller network is then trained on as a run of its own, and
    compared with the whole one on the test images: errors, multiply-adds, and speed as measured.

    Args:
        arguments: a run's folder or weights; then the data, which a run has of its own
    """
    if options.blocks is not None and options.blocks < 1 or options.points < 0:
        raise Refused(
            "--blocks must be at least 1 and --points at least 0",
            f"received {options.blocks} and {options.points:g}",
        )
    models, source = subjects.parted(arguments)
    if len(models) > 1:
        raise Refused("one network is pruned at a time", f"received {listed(models)}")
    from residua import pruning

    terminal.live(f"reading {source or models[0]}")
    model = open_model(models[0])
    network = model.weights.build()
    most = pruning.most(network)
    if (options.blocks or 1) > most:
        raise Refused(
            f"{network.name} has too few blocks to spare",
            where=f"received --blocks {options.blocks}",
            fix=f"at most {most} can go: one stays in each stage, and those that change the shape",
        )
    work = opened(model, subjects.data_of([model], source), options)
    terminal.close()
    terminal.say(
        (model.name, EMPHASIS), f"  {network.name}; {count(len(work.held_out))} held-out images"
    )
    order = ordered(work, options.blocks or most, terminal)
    found, run = searched(work, order, terminal)
    told(work, [each.block for each in order[:found]], order, run, terminal)


def opened(model: "Model", dataset: "Dataset", options: Options) -> Work:
    """The held-out images: a run's own validation images, or some training images.

    Raises:
        Refused: the data has other classes than the network, or too few images.
    """
    from residua import api, settings, workflow
    from residua.datasets.memory import in_memory
    from residua.prepare import selection_split
    from residua.recipes import Recipe

    weights = model.weights
    weights.check(dataset.classes, dataset.name)
    recipe = Recipe(seed=options.seed, validation=HELD_OUT)
    if model.run is not None and workflow.is_own(model.run, dataset):
        name, stored = settings.read_config(model.run.path / "recipe.json")
        own, _ = settings.resolve(name or "auto", [("recipe.json", stored)])
        recipe = replace(recipe, seed=own.seed, validation=own.validation or HELD_OUT)
    _, held_out = selection_split(dataset, recipe)
    if held_out is None or not len(held_out):
        raise Refused("there are no images to judge blocks on", where=dataset.source)
    run_on = api.plain_execution(options.device)
    if weights.preprocessing.size < TINY:
        run_on = replace(run_on, threads=1)  # a step is too short to be shared out
    held_out = in_memory(held_out, weights.preprocessing, run_on.threads)
    return Work(model, dataset, recipe, held_out, run_on, options)


def ordered(work: Work, most: int, terminal: Terminal) -> "list[Removal]":
    """The blocks in the order in which they go, told one by one."""
    from residua import pruning

    found = []
    network = work.model.weights.build()
    terminal.live("measuring what each block matters")
    look = work.model.weights.preprocessing
    for removal in pruning.removals(network, work.held_out, look, work.run_on):
        found.append(removal)
        error = percent(removal.wrong / removal.images)
        terminal.say(
            (f"without {removal.block}", EMPHASIS),
            (f"  {len(found)} gone, loss {removal.loss:.3f}, error {error}", QUIET),
        )
        if len(found) == most:
            break
        terminal.live("measuring what the others matter")
    terminal.close()
    return found


def searched(
    work: Work, order: "Sequence[Removal]", terminal: Terminal
) -> "tuple[int, RunDirectory]":
    """How many blocks go, and the run that trained on without them.

    With --points, by halving: a number is tried, and a larger one if it cost little enough.

    Raises:
        Refused: even one block costs more.
    """
    if work.options.blocks is not None:
        return work.options.blocks, trained_on(work, order, terminal)
    limit = wrong_share(work, work.model.weights) + work.options.points / 100
    low, high, best = 0, len(order), None
    while low < high:
        tried = (low + high + 1) // 2
        run = trained_on(work, order[:tried], terminal)
        error = wrong_share(work, read(run))
        fits = error <= limit
        terminal.say(
            f"without {tried} blocks: {percent(error)} of the held-out images wrong, ",
            ("few enough" if fits else f"more than {percent(limit)}", GOOD if fits else QUIET),
        )
        low, high, best = (tried, high, run) if fits else (low, tried - 1, best)
    if best is None:
        raise Refused(
            f"no block can go for {work.options.points:g} points",
            where=f"{work.model.name} on {len(work.held_out):,} held-out images",
            fix="give more --points, more --epochs, or --blocks N",
        )
    return low, best


def wrong_share(work: Work, weights: "Weights") -> float:
    """The error on the held-out images."""
    from residua.training import measure

    network = weights.build()
    work.run_on.place(network)
    _, wrong = measure(network, work.held_out, weights.preprocessing, work.run_on)
    return wrong / len(work.held_out)


def read(run: "RunDirectory") -> "Weights":
    from residua.checkpoints import read_weights

    return read_weights(run.weights)


def trained_on(work: Work, gone: "Sequence[Removal]", terminal: Terminal) -> "RunDirectory":
    """Train on without some blocks, as a run of its own."""
    from residua import checkpoints, prepare, pruning, settings, workflow
    from residua.commands import progress

    options = work.options
    weights = pruning.pruned(work.model.weights, [each.block for each in gone])
    given: dict[str, Any] = {
        "epochs": options.epochs,
        "seed": work.recipe.seed,
        "validation": work.recipe.validation,
        "learning_rate": options.learning_rate,
        "device": options.device,
    }
    given = {key: value for key, value in given.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder, "pruned.safetensors")
        checkpoints.write_weights(start, weights)
        terminal.live(f"preparing {weights.network}")
        layers = [("prune", given | {"init": str(start)})]
        job = prepare.prepare(work.dataset, "finetune", layers, Path(options.runs))
    if options.learning_rate is None:
        rate = (job.recipe.learning_rate or 0.0) / GENTLER
        why = {"learning_rate": "a tenth of the usual: the weights are nearly right"}
        recipe = replace(job.recipe, learning_rate=rate)
        job = replace(job, recipe=recipe, sources={**job.sources, **why})
    terminal.close()
    run = workflow.begin(job, Path(options.runs), terminal.command)
    kept = replace(job.recipe, init=str((run.path / workflow.INIT).resolve()))
    run.write_json("recipe.json", settings.as_json(kept, job.sources, job.name))
    terminal.say((weights.network, EMPHASIS), (f"  {place(run.path)}", QUIET))
    progress.watch(job, run, terminal)
    return run


def told(
    work: Work,
    gone: Sequence[str],
    order: "Sequence[Removal]",
    run: "RunDirectory",
    terminal: Terminal,
) -> None:
    """Compare the pruned network with the whole one, tell it, and leave it in the run."""
    from residua import pruning

    before, after = work.model.weights, read(run)
    terminal.live("comparing with the whole network")
    pair, tested = compared(work, after, run)
    faster = pruning.speedup(before, after, work.run_on)
    terminal.close()
    shown = zip((before, after), tested, faster.images_per_second, strict=True)
    rows = [pruning.described(*each) for each in shown]
    answer = {
        "removed": list(gone),
        "order": [each._asdict() for each in order],
        "held_out": len(work.held_out),
        "before": rows[0],
        "after": rows[1],
        "comparison": pair.to_dict(),
        "speedup": {"ratio": faster.ratio, "interval": [faster.low, faster.high]},
        "run": str(run.path),
    }
    run.write_json(RECORD, answer)
    terminal.tell()
    summary(rows, pair, faster, terminal)
    terminal.facts([("removed", listed(gone, 60)), ("run", place(run.path))])
    terminal.say((f"next: residua predict {place(run.path)} IMAGES", EMPHASIS))
    terminal.answer(answer)


def compared(
    work: Work, after: "Weights", run: "RunDirectory"
) -> "tuple[Comparison, list[Evaluation]]":
    """The paired test of the whole and the pruned network, on the test images if there are any."""
    from residua import testing, workflow
    from residua.comparisons import compare

    split = "test" if "test" in work.dataset.splits else "validation"
    dataset = work.dataset
    if split not in dataset.splits:
        dataset = replace(dataset, splits={**dataset.splits, split: work.held_out})
    members = [work.model.weights, after]
    _, alone = testing.evaluate(members, dataset, split, work.run_on)
    if work.model.run is not None and workflow.is_own(work.model.run, work.dataset):
        workflow.note_reading(alone[0], work.model.run, "residua prune")
    workflow.note_reading(alone[1], run, "residua prune")
    names = ("the whole network", "the pruned network")
    first, second = (each.answers(name) for each, name in zip(alone, names, strict=True))
    return compare(first, second), alone


def summary(
    rows: Sequence[dict[str, Any]], pair: "Comparison", faster: "Speedup", terminal: Terminal
) -> None:
    """Both networks as a table, and what follows."""
    header = ("", "error", "layers", "parameters", "multiply-adds", "images a second")
    terminal.table(
        [
            header,
            *(
                (
                    row["network"],
                    percent(row["error"]),
                    str(row["layers"]),
                    count(row["parameters"]),
                    count(row["multiply_adds"]),
                    f"{row['images_per_second']:,.0f}",
                )
                for row in rows
            ),
        ],
        right=range(1, 6),
    )
    low, high = (-100 * end for end in reversed(pair.interval))
    terminal.tell()
    terminal.tell(
        (f"{faster.ratio:.2f} times as fast", GOOD),
        f" ({faster.low:.2f} to {faster.high:.2f}); error changes by "
        f"{-100 * pair.difference:+.2f} points ({low:+.2f} to {high:+.2f})",
    )
    terminal.tell((pair.verdict(), QUIET))
