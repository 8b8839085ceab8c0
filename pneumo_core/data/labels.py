"""Labels from a table: each row to its file, and a count of what doesn't fit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pneumo_core.data import naming, tables
from pneumo_core.data.folders import Entry, Tally
from pneumo_core.data.source_spec import LabelTable, SourceSpec
from pneumo_core.data.sources import Found, Sighting, role_of, walk_in
from pneumo_core.data.tables import Row, Table
from pneumo_core.errors import DataError
from pneumo_core.text import inline


def find(root: Path, spec: SourceSpec, labels: LabelTable) -> tuple[Sighting, Table]:
    """Return the files of `root` that the table of `spec` labels, wherever they lie, and the table.

    Raises `DataError` where no row names a file that is there.
    """
    walk = walk_in(root, spec.follow_links)
    table = tables.read(spec, labels, root)
    files = sorted(walk.files(root), key=lambda entry: entry.path)
    entries = [entry for entry in files if naming.may_be_image(entry.path)]
    of_file = _rows_by_file(table, entries, walk.tally)
    if not of_file:
        raise DataError(_none_there(root, table, entries))
    found = [file for entry in entries for file in _labelled(entry, of_file.get(entry.path, ()), table, walk.tally)]
    return Sighting(
        found=tuple(sorted(found, key=lambda file: file.path)), left_out=walk.tally.left_out(), notes=table.notes
    ), table


def _rows_by_file(table: Table, entries: Sequence[Entry], tally: Tally) -> dict[str, list[Row]]:
    """Return the rows of each file; rows that name none, or several, are tallied."""
    index: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        for name in _names(entry.path):
            index[name].append(entry.path)
    of_file: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        paths = _paths(row.image, index)
        if len(paths) == 1:
            of_file[paths[0]].append(row)
        else:
            tally.add(
                "whose image is not there" if not paths else "whose name fits several files", row.image, 1, "rows"
            )
    return of_file


def _names(path: str) -> Iterable[str]:
    """Return all that a row may call a file: its path, shortened from the left, with and without its ending."""
    whole = naming.key(path)
    parts = whole.split("/")
    ending = naming.ending(whole)
    for first in range(len(parts)):
        name = "/".join(parts[first:])
        yield name
        if ending:
            yield name.removesuffix(ending)


def _paths(image: str, index: dict[str, list[str]]) -> list[str]:
    """Return the files that a row may mean, by the longest part of the path that it gives."""
    parts = [part for part in naming.key(image).split("/") if part not in ("", ".")]
    for first in range(len(parts)):
        if found := index.get("/".join(parts[first:])):
            return found
    return []


def _labelled(entry: Entry, rows: Sequence[Row], table: Table, tally: Tally) -> Iterable[Found]:
    """Yield the file with its label, or tally why it has none."""
    if not rows:
        tally.add("without a row in the table", entry.path)
        return
    known = {row.label for row in rows}
    if known == {0, 1} or (len(known) > 1 and None in known):
        tally.add("under two labels", f"{entry.path} ({', '.join(sorted({row.value for row in rows}))})")
        return
    first = rows[0]
    if first.label is None:
        tally.add(first.why, f"{entry.path} ({first.value or 'blank'})")
        return
    patients = sorted({row.patient for row in rows if row.patient})
    yield Found(
        entry=entry,
        label=first.label,
        official_role=first.role or role_of(entry.path),
        kind=table.classes[first.label],
        within=entry.path,
        patient=patients[0] if patients else "",
    )


def _none_there(root: Path, table: Table, entries: Sequence[Entry]) -> str:
    named = ", ".join(inline(row.image) for row in table.rows[:3])
    there = ", ".join(inline(entry.path) for entry in entries[:3]) or "none"
    return (
        f"no row of `{table.file}` names an image in `{root}`: the rows name {named}, ...; images there: {there}; "
        "give the folder that holds the images, or --image-column"
    )
