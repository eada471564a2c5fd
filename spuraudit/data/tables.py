"""CSV files of datasets, read strictly: every complaint names file, line and column."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class TableRow:
    """One row: `line` is its last line in the file, 1-based; `cells` by column name, without surrounding blanks."""

    table: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    @property
    def where(self) -> str:
        """`metadata.csv, line 7`."""
        return f"{self.table}, line {self.line}"

    def error(self, problem: str, hint: str) -> DataError:
        """A DataError that names file and line. Returned, not raised."""
        return DataError(f"{self.where}: {problem}", hint)

    def integer(self, column: str) -> int:
        """The cell as a whole number (pandas writes 3 as 3.0 at times: accepted). Raises DataError."""
        text = self.cells[column]
        try:
            return int(text.removesuffix(".0"))
        except ValueError as error:
            raise self.error(f"column {column!r} holds {text!r}, not a whole number.", "Mend the row.") from error


@dataclass(frozen=True)
class Table:
    """A CSV file with a header line."""

    name: str
    columns: tuple[str, ...]
    text: str

    def __iter__(self) -> Iterator[TableRow]:
        reader = csv.reader(io.StringIO(self.text, newline=""))
        try:
            next(reader)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(self.columns):
                    raise DataError(
                        f"{self.name}, line {reader.line_num}: {len(cells)} cells, the header has {len(self.columns)}.",
                        "Put cells that hold a comma in double quotes.",
                    )
                yield TableRow(
                    self.name,
                    reader.line_num,
                    dict(zip(self.columns, (cell.strip() for cell in cells), strict=True)),
                )
        except csv.Error as error:
            raise DataError(
                f"{self.name}, line {reader.line_num}: not readable as CSV ({error}).", "Save it as plain CSV."
            ) from error


def read_table(content: bytes, name: str, required: Sequence[str]) -> Table:
    """Parse a CSV file (UTF-8, commas, header line). Raises DataError where a required column is missing."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 text (byte {error.start}).", "Save the table as UTF-8 CSV.") from error
    try:
        header = next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise DataError(f"{name}, line 1: not readable as CSV ({error}).", "Save it as plain CSV.") from error
    columns = tuple(column.strip() for column in header)
    if not columns:
        raise DataError(f"{name}: empty; its first line must name the columns.", f"Needed: {', '.join(required)}.")
    for column in required:
        if columns.count(column) != 1:
            problem = "appears twice" if column in columns else f"is missing (found: {', '.join(columns)})"
            raise DataError(
                f"{name}, line 1: column {column!r} {problem}.",
                did_you_mean(column, columns) or f"Needed columns: {', '.join(required)}.",
            )
    return Table(name, columns, text)
