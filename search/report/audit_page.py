"""An audit as a page for people: samples by class and role, outliers, look-alike pairs, files that are set aside."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pneumo_core import files
from pneumo_core.data import dataset
from pneumo_core.data.audit import Audit
from pneumo_core.data.image_facts import Looked
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.data.split import USED_ROLES, Split
from pneumo_core.errors import DataError
from pneumo_core.text import inline
from search.report.gallery import SIDE_PX, spread, to_jpeg
from search.report.markup import Html, Section, facts, figure, image, join, missing, note, paragraph, table, tag
from search.report.page import document, is_page

N_SAMPLES = 6  # a class and role
N_OUTLIERS = 4  # at each end of a fact
N_PAIRS = 24
N_FILES = 200  # set aside, that are listed


def write(file: Path, manifest: Manifest, split: Split | None, audit: Audit, looked: Looked) -> Path:
    """Write the page, whole or not at all; returns `file`.

    Raises `StorageError` where it can't be written,
    or something else than a page of this program is there.
    """
    files.check_free(Path(file), is_page)
    text = render(manifest, split, audit, looked)
    files.write_file(Path(file), lambda path: path.write_text(text, "utf-8"))
    return Path(file)


def render(manifest: Manifest, split: Split | None, audit: Audit, looked: Looked) -> str:
    """Return the page as HTML; images that changed since the scan have their reason in their place."""
    pictures = _Pictures(manifest)
    parts = (
        Section(id="counts", title="What is there", body=_counts(audit)),
        Section(id="samples", title="Samples", body=_samples(manifest, split, pictures)),
        Section(id="outliers", title="Outliers", body=_outliers(manifest, audit, looked, pictures)),
        Section(id="pairs", title="Look-alikes and altered copies", body=_pairs(manifest, audit, pictures)),
        Section(id="aside", title="Set aside and left out", body=_aside(audit)),
    )
    return document(f"{Path(audit.source).name}: images", audit.source, parts)


class _Pictures:
    """Small pictures of a manifest's images, by path; each is read when it is shown."""

    def __init__(self, manifest: Manifest) -> None:
        self._read = dataset.reader(manifest)
        self._records = {record.path: record for record in manifest.records}

    def card(self, path: str, caption: str = "") -> Html:
        record = self._records[path]
        try:
            shown = image(to_jpeg(self._read(record, 1, SIDE_PX)), inline(path), "jpeg")
        except DataError as error:
            shown = missing(str(error))
        text = join(
            [tag("span", inline(path.rpartition("/")[2]), title=inline(path)), tag("span", caption or record.kind)]
        )
        return tag("figure", shown, tag("figcaption", text))


def _counts(audit: Audit) -> Html:
    found = [
        ("Images", ", ".join(f"{n} {name}" for name, n in audit.classes.items())),
        ("Patients, look-alikes counted as one", str(audit.n_groups)),
        ("Sizes in px", ", ".join(f"{n} of {size}" for size, n in audit.sizes_px.items())),
        ("Set aside", f"{len(audit.rejected)} files"),
    ]
    names = tuple(audit.classes)
    roles = table(
        ("role", *names, "patients"),
        [(role.role, str(role.n_negative), str(role.n_positive), str(role.n_groups)) for role in audit.roles],
    )
    warnings = [paragraph(warning, class_="verdict bad") for warning in audit.warnings]
    return join([*warnings, facts(found), roles, *(paragraph(text) for text in audit.notes), _predictors(audit)])


def _predictors(audit: Audit) -> Html:
    """Return how well each fact of file and image predicts the class."""
    known = dict(audit.image_facts) | (dict(audit.shortcuts.single) if audit.shortcuts else {})
    rows = [(name.replace("_", " "), f"{value:.3f}") for name, value in sorted(known.items(), key=lambda i: -i[1])]
    words = "How well one fact of a file or its pixels, without any learning, predicts the class; 0.5 is chance."
    return join([tag("h3", "What alone predicts the class"), note(words), table(("fact", "AUC"), rows)])


def _samples(manifest: Manifest, split: Split | None, pictures: _Pictures) -> Html:
    """Return a few images of each class and role, evenly over their paths."""
    of_role: Mapping[str, list[ImageRecord]] = defaultdict(list)
    for record, role in zip(manifest.records, split.roles if split else ["all"] * len(manifest.records), strict=True):
        of_role[role].append(record)
    sheets = []
    for role in (*USED_ROLES, "excluded", "all"):
        for label in (0, 1):
            mine = [record for record in of_role.get(role, ()) if record.label == label]
            if mine:
                chosen = [mine[int(row)] for row in spread(np.arange(len(mine)), N_SAMPLES)]
                title = tag("h3", f"{role}: {manifest.class_name(label)} ({len(mine)})")
                sheets.append(join([title, _gallery(pictures.card(record.path) for record in chosen)]))
    return join(sheets)


def _outliers(manifest: Manifest, audit: Audit, looked: Looked, pictures: _Pictures) -> Html:
    """Return the images unlike the others, and those at both ends of each fact."""
    odd = _gallery(pictures.card(one.path, one.how) for one in audit.odd[:N_PAIRS])
    parts = [paragraph("No image is blank, inverted or lies otherwise than the others.") if not audit.odd else odd]
    for name, values in looked.facts.items():
        order = np.argsort(values, kind="stable")
        ends = list(dict.fromkeys([*order[:N_OUTLIERS].tolist(), *order[::-1][:N_OUTLIERS].tolist()]))
        cards = [pictures.card(manifest.records[row].path, f"{name} {values[row]:.3g}") for row in ends]
        parts.append(join([tag("h3", f"Lowest and highest {name}"), _gallery(cards)]))
    return join(parts)


def _pairs(manifest: Manifest, audit: Audit, pictures: _Pictures) -> Html:
    """Return images that look the same side by side, those in both classes first."""
    by_look: Mapping[str, list[ImageRecord]] = defaultdict(list)
    for record in manifest.records:
        by_look[record.look].append(record)
    sets = [members for members in by_look.values() if len(members) > 1]
    sets.sort(key=lambda members: (len({record.label for record in members}) == 1, members[0].path))
    pairs = [((a.path, b.path), _said(manifest, a, b)) for a, b, *_ in sets]
    pairs += [
        ((copy.first, copy.second), copy.how + (", in two roles" if copy.divided else "")) for copy in audit.copies
    ]
    if not pairs:
        return paragraph("No two images look the same, and none is an altered copy of another.")
    shown = [figure(_gallery(pictures.card(path) for path in paths), caption) for paths, caption in pairs[:N_PAIRS]]
    counts = Counter(copy.how for copy in audit.copies)
    found = [f"{len(sets)} sets of images look the same", *(f"{n} pairs: {how}" for how, n in counts.most_common())]
    return join([paragraph("; ".join(found)), tag("div", *shown, class_="pair")])


def _said(manifest: Manifest, first: ImageRecord, second: ImageRecord) -> str:
    same = "the same bytes" if first.digest == second.digest else "look the same"
    classes = {manifest.class_name(record.label) for record in (first, second)}
    return f"{same}; in both classes, so one label is wrong" if len(classes) == 2 else same


def _aside(audit: Audit) -> Html:
    rejected = [(inline(file.path), file.reason) for file in audit.rejected[:N_FILES]]
    left_out = [(f"{entry.n} {entry.what}", entry.reason, ", ".join(entry.examples)) for entry in audit.left_out]
    return join(
        [
            tag("h3", "Files that can't be used"),
            table(("file", "why"), rejected) if rejected else paragraph("None."),
            tag("h3", "Left out"),
            table(("how many", "why", "such as"), left_out) if left_out else paragraph("Nothing."),
        ]
    )


def _gallery(cards: Iterable[Html]) -> Html:
    return tag("div", *cards, class_="gallery")
