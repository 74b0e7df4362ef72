"""Where a training departs from a paper's, and what each departure is known to do.

read        a run, a recipe of ours, or a configuration of another project
audit       its settings against a paper's, one rule for each
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from residua import settings
from residua.audit.papers import PAPERS
from residua.audit.rules import GRADES, Effect, Rule
from residua.audit.terms import Reading, Said, Unread, read, shown
from residua.audit.units import is_small, name_network, settle
from residua.errors import BadData, Refused, unknown
from residua.runs import RUN

RECIPE = "recipe.json"
ARTICLE = "He et al. 2016a (arXiv:1512.03385)"


class Departure(NamedTuple):
    """A setting that is not the paper's."""

    setting: str
    key: str  # as it was written
    received: Any
    paper: str
    source: str
    effect: str
    direction: str
    grade: str


class Agreement(NamedTuple):
    """A setting that is."""

    setting: str
    received: Any
    paper: str
    note: str


@dataclass(frozen=True)
class Audit:
    """A training against a paper's."""

    against: str  # a name in PAPERS
    title: str
    departures: tuple[Departure, ...]  # those that change most first
    unknown: tuple[Unread, ...]  # what could not be read, and what is not said
    agrees: tuple[Agreement, ...]
    neutral: tuple[str, ...]  # settings that decide no result

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        table = asdict(self)
        for name in ("departures", "unknown", "agrees"):
            table[name] = [each._asdict() for each in getattr(self, name)]
        return table


def open_audit(path: Path, against: str | None = None) -> Audit:
    """Audit a run's folder, or a TOML or JSON file of settings.

    Raises:
        BadData: it is none, or malformed.
        Refused: no such paper, or nothing says which one to hold it against.
    """
    if against is not None and against not in PAPERS:
        raise unknown("paper's recipe", against, PAPERS)
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        path = path / RECIPE
        if not path.is_file():
            raise BadData(f"not a run directory: it has no {RECIPE}", str(folder))
    name, table = settings.read_config(path)
    data = described(folder / RUN) if path.name == RECIPE else {}
    if name is not None and name in PAPERS:
        against = against or name
    table, own = resolved(name, table)
    return audit(table | data, against, own)


def resolved(name: str | None, table: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A file that names a recipe of ours says what that recipe says, too; whether it does."""
    if name is None or not table.keys() <= settings.FIELDS.keys():
        return table, False
    recipe, _ = settings.resolve(name, [("configuration", table)])
    return asdict(recipe), True


def described(path: Path) -> dict[str, Any]:
    """What a run's run.json says of its images."""
    if not path.is_file():
        return {}
    data = settings.read_config(path)[1].get("data", {})
    images = sum(data.get("images", {}).get(role, 0) for role in ("train", "validation"))
    return {"dataset": data.get("name")} | ({"train_images": images} if images else {})


def audit(table: Mapping[str, Any], against: str | None = None, own: bool = False) -> Audit:
    """Compare settings with a paper's.

    Args:
        table: of a recipe of ours, or of a configuration of any project, nested or not.
        against: a name in PAPERS; by default the one whose networks they are.
        own: whether it is a recipe of ours, where a network's name says all its options.

    Raises:
        Refused: nothing says which paper.
    """
    reading = read(table)
    name_network(reading, own)
    against = against or paper_of(reading)
    paper = PAPERS[against]
    settle(reading, paper.images, own)
    facts = {term: said.value for term, said in reading.said.items()}
    departures, agrees = [], []
    for rule in paper.rules:
        said = reading.said.get(rule.setting)
        if said is None:
            if rule.needed and not excused(rule, facts):
                reading.unread.append(
                    Unread(rule.setting, None, f"not said; in the paper: {rule.paper}")
                )
            continue
        found = rule.judge(said.value, facts)
        if found is None:
            agrees.append(Agreement(rule.setting, shown(said.value), rule.paper, rule.note))
        else:
            departures.append(departure(rule, said, found))
    judged = {rule.setting for rule in paper.rules} | USED
    for term, said in reading.said.items():
        if term not in judged:
            why = f"{paper.title} says nothing about it"
            reading.unread.append(Unread(said.key, shown(said.value), why))
    departures.sort(key=lambda each: [*GRADES].index(each.grade))  # type: ignore[arg-type]
    return Audit(
        against, paper.title, tuple(departures), tuple(reading.unread), tuple(agrees),
        tuple(reading.neutral),
    )  # fmt: skip


# Said of a setting that another one stands for.
USED = frozenset(
    "network train_images epochs period time spare_norms warmup warmup_steps warmup_rate "
    "warmup_end warmup_error bias".split()
)


def departure(rule: Rule, said: Said, found: Effect) -> Departure:
    source = rule.section if rule.section.startswith("the") else f"{ARTICLE}, {rule.section}"
    return Departure(
        rule.setting, said.key, shown(said.value), rule.paper, source,
        found.words, found.direction, found.grade,
    )  # fmt: skip


def excused(rule: Rule, facts: Mapping[str, Any]) -> bool:
    """Whether a setting needs not be said, given the others."""
    if rule.setting == "warm-up":
        return "depth" in facts and facts["depth"] < 110
    if rule.setting in ("shortcut", "stride"):
        plain = str(facts.get("family")).startswith("plain")
        return plain or (rule.setting == "stride" and facts.get("depth", 50) < 50)
    if rule.setting == "milestones":
        return facts.get("schedule") not in (None, "step")
    return rule.setting == "schedule" and "milestones" in facts


def paper_of(reading: Reading) -> str:
    """The paper whose networks or images these are.

    Raises:
        Refused: nothing says so.
    """
    said = reading.said
    data = said["data"].value if "data" in said else ""
    if "cifar" in data:
        return "paper-cifar"
    if re.search("imagenet|ilsvrc", data):
        return "paper-imagenet"
    if "depth" in said:
        family = str(said["family"].value) if "family" in said else ""
        small = "small" in family or (not family and is_small(said["depth"].value))
        return "paper-cifar" if small else "paper-imagenet"
    if "size" in said:
        return "paper-cifar" if said["size"].value <= 64 else "paper-imagenet"
    raise Refused(
        "nothing says which paper's training this is: neither its network nor its data",
        fix=f"add --against {' or --against '.join(PAPERS)}",
    )
