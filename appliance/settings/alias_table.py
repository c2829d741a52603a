"""The list of aliases as people work on it: put in, take out, export and import as CSV (R3). Pure.

CSV has the columns alias, targets, comment. Comma, semicolon and tab part them (spreadsheets of
some languages write semicolons); targets are parted by spaces.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from appliance.base.finding import Refused
from appliance.settings import parse
from appliance.settings.parse import Bad
from appliance.settings.rules_section import MAX_ALIASES, Alias

SETTING = "rules.aliases"
HEAD = ("alias", "targets", "comment")
MAX_CSV_CHARACTERS = 2_000_000


def find(aliases: Iterable[Alias], name: str) -> Alias:
    """Raises Refused when there is none of that name."""
    wanted = name.strip().lower()
    for alias in aliases:
        if alias.alias == wanted:
            return alias
    raise Refused.because(f"settings.{SETTING}", f"There is no alias “{name[:60]}”.")


def put(aliases: Iterable[Alias], alias: Alias, *, instead_of: str = "") -> tuple[Alias, ...]:
    """With one more, at the end; or with another one in the place of `instead_of`.

    Raises Refused when the name is taken.
    """
    rows = list(aliases)
    if any(row.alias == alias.alias != instead_of for row in rows):
        raise Refused.because(
            f"settings.{SETTING}",
            f"There is an alias “{alias.alias}” already.",
            "Change that one, or take another name.",
        )
    if instead_of:
        at = rows.index(find(rows, instead_of))
        rows[at] = alias
    else:
        rows.append(alias)
    return tuple(rows)


def without(aliases: Iterable[Alias], name: str) -> tuple[Alias, ...]:
    """Raises Refused when there is none of that name."""
    rows = tuple(aliases)
    gone = find(rows, name)
    return tuple(row for row in rows if row is not gone)


def merged(aliases: Iterable[Alias], others: Iterable[Alias]) -> tuple[Alias, ...]:
    """With `others` put in; those of the same name take the old one's place."""
    rows = {alias.alias: alias for alias in aliases}
    rows.update((alias.alias, alias) for alias in others)
    return tuple(rows.values())


def to_csv(aliases: Iterable[Alias]) -> str:
    """The table with its head."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(HEAD)
    writer.writerows((alias.alias, " ".join(alias.targets), alias.comment) for alias in aliases)
    return written.getvalue()


def from_csv(text: str) -> tuple[Alias, ...]:
    """The rows of a table, its head or not. Raises Refused that names the line."""
    if len(text) > MAX_CSV_CHARACTERS:
        raise _refused(0, Bad("The table is too large.", "Import it in parts."))
    text = text.removeprefix("\ufeff")
    found: dict[str, Alias] = {}
    rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells) and (rows.line_num > 1 or cells[0].lower() != HEAD[0]):
                alias = _of_row(cells)
                if alias.alias in found:
                    raise Bad(f"“{alias.alias}” stands here twice.", "Keep one row for it.")
                found[alias.alias] = alias
    except (Bad, csv.Error) as error:
        trouble = error if isinstance(error, Bad) else Bad(str(error), "Save it as CSV again.")
        raise _refused(rows.line_num, trouble) from error
    if len(found) > MAX_ALIASES:
        raise _refused(0, Bad(f"There are {len(found)} aliases.", f"Use at most {MAX_ALIASES}."))
    return tuple(found.values())


def _of_row(cells: Sequence[str]) -> Alias:
    if len(cells) < 2:
        raise Bad("There is only one column.", "Give alias, targets and, if you like, a comment.")
    comment = " ".join(parse.text(10_000)(" ".join(cells[2:])).split())
    return Alias.from_json({"alias": cells[0], "targets": cells[1], "comment": comment})


def _delimiter(text: str) -> str:
    """The first of the marks that the first line holds."""
    first = text.lstrip().partition("\n")[0]
    return next((mark for mark in ("\t", ";", ",") if mark in first), ",")


def _refused(line: int, trouble: Bad) -> Refused:
    where = f"Line {line}: " if line else ""
    return Refused.because(f"settings.{SETTING}", f"{where}{trouble.say}", trouble.fix)
