"""How files are to be read, whatever their format: which columns, which of them are categories, where labels are.

Invariant: what was chosen and is not there is refused, never left out in silence.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from wayside.detectors.data.tables.builder import LIMIT_BYTES, Refused, TableBuilder
from wayside.eventing.errors import ConfigurationError


class Header(StrEnum):
    """Whether the first line of a CSV file names the columns; by itself it does where no cell of it is a number."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a fitted detector takes: its columns' names, where it has names, and which of them are categories."""

    names: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """`columns` chooses and orders them (empty: all), by name, or by position from 0 where there are no names.

    `categories` are those to be read as categories even where they hold numbers. `label` is a column, or a file, that
    says which rows are outliers: 1 and not 0, or where `ordinary` has texts, any but these. What is `expected` is read
    as what it is, and nothing else is read, where the data has it all by name. `time` is a column of times.
    """

    columns: tuple[str, ...] = ()
    categories: frozenset[str] = frozenset()
    label: str | None = None
    time: str | None = None
    ordinary: frozenset[str] = frozenset()
    header: Header = Header.AUTO
    limit_bytes: int = LIMIT_BYTES
    expected: Expected = Expected()

    def wanted(self, known: Sequence[str], named: bool) -> list[int]:
        """The positions of what has to be read of columns known so: those chosen, the label's and the time's.

        Columns without names are all read: to leave some out would move the others.
        """
        expected = self.expected.names if self.expected.names <= set(known) else frozenset()
        chosen = self.columns or expected
        if not chosen or not named:
            return list(range(len(known)))
        return [at for at, name in enumerate(known) if name in chosen or name in (self.label, self.time)]

    @property
    def declared(self) -> frozenset[str]:
        """The columns that are known to be categories."""
        return self.categories | self.expected.categories

    def builder(self, names: Sequence[str] | None, width: int) -> TableBuilder:
        """For columns that were found. The label's is a category: its texts are looked at later."""
        declared: Collection[str | None] = {*self.declared, self.label}
        return TableBuilder(names, width, declared, self.limit_bytes, self.time)


@contextmanager
def located(where: str, place: Callable[[int], str]) -> Iterator[None]:
    """Turns a refused cell into a `ConfigurationError` that names the file and the place of its row."""
    try:
        yield
    except Refused as exc:
        raise ConfigurationError(f"{where}, {place(exc.row)}, {exc}") from exc
