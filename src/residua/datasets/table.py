"""A CSV of path,label[,split]: one labelled file per row.

A first row that names its columns may order them freely (path or file, label or class, split or
set); without one the order is path, label, split. Commas, semicolons and tabs are told apart by
the first row. A relative path starts at the folder of the CSV and may not leave it, by .. or by
a link; to use files elsewhere, write their absolute paths.
"""

import codecs
import csv
import io
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from residua.datasets.dataset import Dataset, Fault, refuse
from residua.datasets.folder import SPLIT_NAMES, Sample, assemble
from residua.errors import BadData, suggestion
from residua.words import harmless, listed

SIZE_LIMIT = 250_000_000  # bytes of text
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image"),
    "label": ("label", "class", "category", "target", "class_name", "label_name"),
    "split": ("split", "set", "subset", "partition"),
}
FIX = "write one row path,label or path,label,split for each image"
PROBLEMS = {
    "row(s) of another width than the first": FIX + '; put a path with a comma in quotes (")',
    "row(s) with an empty path, label or split": FIX,
    "file(s) listed more than once": "list each file once",
    "file(s) that do not exist": "paths start at the folder of the CSV, with / between folders;"
    " a first row of column names must call them path and label",
    "path(s) out of the folder of the table": "write the absolute path of a file elsewhere",
    "path(s) that are not regular files": "list image files only",
}
WIDTH, EMPTY, TWICE, MISSING, OUTSIDE, SPECIAL = PROBLEMS


class Row(NamedTuple):
    line: int
    cells: list[str]


class Columns(NamedTuple):
    """The positions of the columns in rows of `width` cells."""

    path: int
    label: int
    split: int | None
    width: int


def load(path: Path, seed: int = 0) -> Dataset:
    """List the images of a CSV; BadData names all of its problems at once."""
    rows, columns = _table(_text(path), path)
    samples: dict[Path, Sample] = {}
    problems: dict[str, list[str]] = {}
    folder = path.parent.resolve()
    real: dict[str, str] = {}
    for row in rows:
        sample, problem = _sample(row, columns, folder)
        problem = problem or _problem(sample, folder, real)
        if not problem and sample.path in samples:
            problem = TWICE
        if problem:
            problems.setdefault(problem, []).append(f"line {row.line}: {', '.join(row.cells)}")
        else:
            samples[sample.path] = sample
    faults = [
        Fault(f"{len(places):,} {problem}: {listed(places)}", PROBLEMS[problem])
        for problem, places in problems.items()
    ]
    faults += _split_faults(samples.values())
    if not samples and not faults:
        faults.append(Fault("the table has no rows", FIX))
    if faults:
        refuse(faults, str(path))
    known = {"": "", **SPLIT_NAMES}
    return assemble(
        path, [s._replace(role=known[s.role.casefold()]) for s in samples.values()], seed
    )


def _text(path: Path) -> str:
    """The file as text without its byte order mark; BadData when it is not UTF-8."""
    if path.stat().st_size > SIZE_LIMIT:
        raise BadData(f"a table of more than {SIZE_LIMIT:,} bytes", str(path), "divide it")
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadData("the table is UTF-16", str(path), "save it as CSV UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadData("not UTF-8", f"{path}, line {line}", "save it as CSV UTF-8") from error
    if "\0" in text:
        raise BadData("the table holds zero bytes, so it is not text", str(path), FIX)
    return text


def _table(text: str, path: Path) -> tuple[Iterator[Row], Columns]:
    """The rows of the table and its columns, with the delimiter that makes sense of row one."""
    failures: list[BadData] = []
    for delimiter in ",;\t":
        rows = _rows(text, delimiter, path)
        try:
            first = next(rows, None)
            if first is None:
                raise BadData("the table is empty", str(path), FIX)
            header = _header(first.cells, path)
        except BadData as error:
            failures.append(error)
            continue
        if header:
            return rows, header
        width = len(first.cells)
        if width in (2, 3):
            return chain([first], rows), Columns(0, 1, 2 if width == 3 else None, width)
    if failures:
        raise failures[0]
    start = harmless(text.partition("\n")[0][:200])
    raise BadData("the first row has not two or three columns", f"{path}: {start}", PROBLEMS[WIDTH])


def _rows(text: str, delimiter: str, path: Path) -> Iterator[Row]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Row(reader.line_num, cells)
    except csv.Error as error:
        where = f"{path}, line {reader.line_num}"
        raise BadData(f"not a CSV: {error}", where, 'put names with " in quotes, as ""') from error


def _header(cells: Sequence[str], path: Path) -> Columns | None:
    """The columns, if the first row names one of paths; None if it is a row of data."""
    names = [cell.strip().casefold() for cell in cells]
    places = {
        column: [index for index, name in enumerate(names) if name in known]
        for column, known in COLUMNS.items()
    }
    if not places["path"] or len(names) < 2:
        return None
    where = f"{path}, line 1: {listed(cells)}"
    for column, found in places.items():
        if len(found) > 1:
            raise BadData(f"{len(found)} columns for the {column}", where, "keep one")
    if not places["label"]:
        raise BadData("no column for the label", where, "name one column label")
    split = places["split"][0] if places["split"] else None
    return Columns(places["path"][0], places["label"][0], split, len(names))


def _sample(row: Row, columns: Columns, folder: Path) -> tuple[Sample, str]:
    """The sample of a row, and what is wrong with the row or ""."""
    if len(row.cells) != columns.width:
        return Sample("", "", "", folder), WIDTH
    written, label = row.cells[columns.path], row.cells[columns.label].strip()
    role = "" if columns.split is None else row.cells[columns.split].strip()
    empty = not written.strip() or not label or (columns.split is not None and not role)
    name = PurePosixPath(written).as_posix()
    return Sample(role, label, name, folder / name), EMPTY if empty else ""


def _problem(sample: Sample, folder: Path, real: dict[str, str]) -> str:
    """What keeps the file from being used, or ""; `real` remembers folders without links."""
    path = str(sample.path)
    parent = os.path.dirname(path)
    try:
        status = os.lstat(path)
        if parent not in real:
            real[parent] = os.path.realpath(parent)
        place = real[parent]
        if stat.S_ISLNK(status.st_mode):
            status, place = os.stat(path), os.path.realpath(path)
    except OSError:
        return MISSING
    if not os.path.isabs(sample.name) and os.path.commonpath((folder, place)) != str(folder):
        return OUTSIDE
    return "" if stat.S_ISREG(status.st_mode) else SPECIAL


def _split_faults(samples: Iterable[Sample]) -> Iterator[Fault]:
    for name in sorted({s.role for s in samples if s.role.casefold() not in SPLIT_NAMES} - {""}):
        near = suggestion(name, SPLIT_NAMES) or "use train, validation or test"
        yield Fault(f'no split is called "{harmless(name)}"', near)
