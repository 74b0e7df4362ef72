"""The files that predict writes: predictions and feature vectors, with a row for each picture.

    predictions  .csv .jsonl .parquet   every picture, with the reason where it has no answer
    features     .parquet .npz          the pictures that could be read

Rows go to the disk as they come, so memory does not grow with their number, and a file appears
whole or not at all.
"""

import codecs
import csv
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from residua import durable
from residua.errors import Refused

if TYPE_CHECKING:  # --help needs no numbers
    from residua.predictor import Floats

Row = dict[str, Any]  # name and error, or name, label, score and predictions
Add = Callable[[Row, "Floats | None"], None]  # a row and its features (width)
About = Mapping[str, Any]  # where the rows come from; `width` is that of the vectors
Table = Callable[[IO[bytes], About], AbstractContextManager[Add]]

GROUP = 4096  # rows that are written together
COLUMNS = ("name", "label", "score", "top", "error")


@contextmanager
def tables(out: str | None, features: str | None, about: About) -> Iterator[Add]:
    """A function that adds a row to both files, which appear when the block ends.

    Raises:
        OutOfResources: a file cannot be written; what was there before is untouched.
    """
    with ExitStack() as stack:
        adds = []
        for path, kinds in ((out, PREDICTIONS), (features, FEATURES)):
            if path is not None:
                file = stack.enter_context(durable.appearing(Path(path)))
                adds.append(stack.enter_context(kinds[ending(path)](file, about)))

        def add(row: Row, vector: "Floats | None") -> None:
            for each in adds:
                each(row, vector)

        yield add


def check(flag: str, path: str | None, kinds: Mapping[str, Table]) -> None:
    """Refuse a file that cannot be written.

    Raises:
        Refused: the file has another ending or is a folder, or pyarrow is missing.
    """
    if path is None:
        return
    if ending(path) not in kinds:
        *others, last = kinds
        raise Refused(
            f'{flag} does not write "{ending(path)}"',
            f"received {path}",
            f"give a file that ends in {', '.join(others)} or {last}",
        )
    if Path(path).is_dir():
        raise Refused("there is a folder of this name", f"{flag} {path}", "give another name")
    if ending(path) == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            fix = 'pip install "residua[parquet]"'
            raise Refused("Parquet files need pyarrow", f"{flag} {path}", fix) from error


def ending(path: str) -> str:
    return Path(path).suffix.lower()


@contextmanager
def csv_table(file: IO[bytes], about: About) -> Iterator[Add]:
    """CSV with the columns name, label, score, top ("cat:0.61 dog:0.20") and error."""
    writer = csv.writer(codecs.getwriter("utf-8")(file, "surrogateescape"), lineterminator="\n")
    writer.writerow(COLUMNS)

    def add(row: Row, vector: "Floats | None") -> None:
        top = " ".join(f"{p['label']}:{p['score']:.4f}" for p in row.get("predictions", ()))
        score = f"{row['score']:.6f}" if "score" in row else ""
        writer.writerow((row["name"], row.get("label", ""), score, top, row.get("error", "")))

    yield add


@contextmanager
def json_table(file: IO[bytes], about: About) -> Iterator[Add]:
    """A JSON object on each line."""

    def add(row: Row, vector: "Floats | None") -> None:
        file.write(json.dumps(row).encode() + b"\n")

    yield add


def predictions_table(file: IO[bytes], about: About) -> AbstractContextManager[Add]:
    """Parquet with the columns name, label, score, predictions and error."""
    import pyarrow as pa

    text, number = pa.string(), pa.float32()
    one = pa.struct([("label", text), ("score", number)])
    columns = [("name", text), ("label", text), ("score", number), ("predictions", pa.list_(one))]
    return parquet(file, pa.schema([*columns, ("error", text)]), about)


@contextmanager
def features_table(file: IO[bytes], about: About) -> Iterator[Add]:
    """Parquet with the columns name, features, label and score."""
    import pyarrow as pa

    text, number = pa.string(), pa.float32()
    vectors = pa.list_(number, about["width"])
    columns = [("name", text), ("features", vectors), ("label", text), ("score", number)]
    with parquet(file, pa.schema(columns), about) as add:
        yield lambda row, vector: None if vector is None else add(row | {"features": vector}, None)


@contextmanager
def parquet(file: IO[bytes], schema: Any, about: About) -> Iterator[Add]:
    """Parquet with the columns of a schema, and `about` as JSON in the file's metadata."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = schema.with_metadata({"residua": json.dumps(about)})
    rows: list[Row] = []
    with ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def add(row: Row, vector: "Floats | None") -> None:
            rows.append({key: valid(value) for key, value in row.items()})
            if len(rows) == GROUP:
                flush()

        yield add
        flush()


def valid(value: Any) -> Any:
    """A value whose texts are UTF-8: the name of a file may hold any bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [valid(part) for part in value]
    if isinstance(value, dict):
        return {key: valid(part) for key, part in value.items()}
    return value


@contextmanager
def arrays(file: IO[bytes], about: About) -> Iterator[Add]:
    """NumPy: names (n), features (n, width), failed (m), and about, a JSON text."""
    names: list[str] = []
    failed: list[str] = []
    # An array is stored after its shape, which only the last picture decides.
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as rows:

        def add(row: Row, vector: "Floats | None") -> None:
            (failed if vector is None else names).append(row["name"])
            if vector is not None:
                rows.write(vector.astype("<f4").tobytes())

        yield add
        rows.seek(0)
        with zipfile.ZipFile(file, "w") as archive:
            with member(archive, "features", "<f4", (len(names), about["width"])) as part:
                shutil.copyfileobj(rows, part)
            texts(archive, "names", names)
            texts(archive, "failed", failed)
            texts(archive, "about", [json.dumps(about)])


def texts(archive: zipfile.ZipFile, name: str, values: Sequence[str]) -> None:
    """Store texts as an array of as many characters each as the longest has."""
    import numpy as np

    kind = f"<U{max(map(len, values), default=1)}"
    with member(archive, name, kind, (len(values),)) as part:
        for value in values:
            part.write(np.array(value, kind).tobytes())


@contextmanager
def member(
    archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...]
) -> Iterator[IO[bytes]]:
    """One array of an .npz file, its values to be written after its header."""
    import numpy as np

    header = {"descr": kind, "fortran_order": False, "shape": shape}
    info = zipfile.ZipInfo(f"{name}.npy")  # without the time: the same rows give the same bytes
    info.compress_type = zipfile.ZIP_DEFLATED if kind.startswith("<U") else zipfile.ZIP_STORED
    with archive.open(info, "w", force_zip64=True) as part:
        np.lib.format.write_array_header_1_0(part, header)
        yield part


PREDICTIONS: dict[str, Table] = {
    ".csv": csv_table,
    ".jsonl": json_table,
    ".parquet": predictions_table,
}
FEATURES: dict[str, Table] = {".parquet": features_table, ".npz": arrays}
