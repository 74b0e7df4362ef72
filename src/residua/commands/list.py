"""`residua list`: what there is."""

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, QUIET, Terminal
from residua.errors import unknown

Row = dict[str, Any]  # name, about, and what else a program may want


def list_(
    what: str,
    /,
    *,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """List what there is, one line each.

    Args:
        what: networks, datasets, recipes, protocols, engines, weights, studies or claims
    """
    if what not in LISTS:
        raise unknown("list", what, LISTS)
    rows = LISTS[what]()
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        terminal.tell((f"{row['name']:<{width}}  ", EMPHASIS), row["about"])
        if row.get("more"):
            terminal.tell((f"{'':<{width}}  {row['more']}", QUIET))
    terminal.say()
    if what == "networks":
        terminal.say((variants(), QUIET))
    terminal.say(HINTS[what])
    terminal.answer({what: rows})


def networks() -> list[Row]:
    from residua.networks import NETWORKS, VARIED

    rows = []
    for template, family in NETWORKS.items():
        own = {key: known for key, known in family.options.items() if known != VARIED.get(key)}
        varied = len(family.options) > len(own)
        words = [f"N = {', '.join(map(str, family.depths))}"] * ("{depth}" in template)
        words += [f"{name}={known}" for name, known in own.items()] + ["and variants"] * varied
        rows.append(
            {
                "name": template.replace("{depth}", "N"),
                "about": family.about,
                "more": "; ".join(words),
                "depths": list(family.depths),
                "options": {name: str(known) for name, known in family.options.items()},
                "names": [template.format(depth=depth) for depth in family.depths],
            }
        )
    return rows


def variants() -> str:
    from residua.networks import VARIED

    return "variants: " + "; ".join(f"{option}={known}" for option, known in VARIED.items())


def datasets() -> list[Row]:
    from residua.datasets import DATASETS, HOME
    from residua.datasets.download import FILES

    rows = []
    for name in DATASETS:
        here = name not in FILES or (HOME / name).is_dir()
        about = "bundled" if name not in FILES else f"in {HOME / name}"
        if not here:
            about = f"not here: residua download {name}"
        rows.append({"name": name, "about": about, "here": here})
    return rows


def recipes() -> list[Row]:
    from residua.recipes import RECIPES

    auto = {"name": "auto", "about": "finetune with --init, quick without"}
    return [auto, *({"name": name, "about": about} for name, (about, _) in RECIPES.items())]


def protocols() -> list[Row]:
    from residua.protocols import PROTOCOLS

    return [{"name": name, "about": asking.about} for name, asking in PROTOCOLS.items()]


def engines() -> list[Row]:
    from residua.engines import ENGINES

    rows = []
    for name, engine in ENGINES.items():
        words = [", ".join(engine.precisions)]
        words += [f'with the extra: pip install "residua[{engine.extra}]"'] * bool(engine.extra)
        rows.append({"name": name, "about": engine.about, "more": "; ".join(words)})
    return rows


def weights() -> list[Row]:
    from residua.pretrained import PRETRAINED

    return [{"name": name, "about": about} for name, about in PRETRAINED.items()]


def studies() -> list[Row]:
    from residua.studies import STUDIES

    return [{"name": name, "about": about} for name, about in STUDIES.items()]


def claims() -> list[Row]:
    from residua.claims import CLAIMS

    return [{"name": name, "about": claim.words} for name, claim in CLAIMS.items()]


LISTS: dict[str, Callable[[], list[Row]]] = {
    "networks": networks,
    "datasets": datasets,
    "recipes": recipes,
    "protocols": protocols,
    "engines": engines,
    "weights": weights,
    "studies": studies,
    "claims": claims,
}
HINTS = {
    "networks": "write resnet50, resnet34-shortcut=A or resnet34-a, resnet50-d-se; "
    "next: residua show resnet20-cifar",
    "datasets": "a folder of images, a CSV of path,label or the CIFAR archive is data too; "
    "next: residua check DATA",
    "recipes": "next: residua train DATA --recipe NAME",
    "protocols": "next: residua evaluate RUN --protocol NAME",
    "engines": "next: residua predict RUN IMAGES --engine NAME",
    "claims": "next: residua claims, or residua claims C4 C5 --budget 1h",
    "studies": "next: residua study NAME DATA --budget 5m",
    "weights": "they come with Residua; next: residua predict resnet20-cifar10 IMAGES, or "
    "residua train DATA --init NAME",
}
