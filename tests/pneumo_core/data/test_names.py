"""Names of files are bytes: what isn't UTF-8, or would move a cursor or break a line, is read and shown escaped."""

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pneumo_core import codec
from pneumo_core.data import audit, dataset, folders, image_facts, naming, preprocess, split
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.source_spec import LabelTable, SourceSpec
from pneumo_core.specs import DataSpec, SplitSpec
from pneumo_core.text import encodable
from search import printing
from search.cli.show import show_audit, show_left_out, show_rejected
from search.report import audit_page
from tests.pneumo_core.pictures import encoded, pixels

ODD = (b"caf\xe9", b"\xff\xfe", b"two\nlines", b"\x1b[2J", b"a,b\"'", b"<b>", b"[red]", b"=1+1", "\u202egnp".encode())
NAMES = st.lists(
    (st.sampled_from(ODD) | st.binary(min_size=1, max_size=20)).filter(lambda name: not {*name} & {0, *b"/."}),
    min_size=3,
    max_size=8,
    unique=True,
)


def source(root: Path, names: list[bytes]) -> Path:
    """Write a picture and a damaged file under each of the names, in each class, beside ten usual ones."""
    for label, name in enumerate((b"NORMAL", b"PNEUMONIA")):
        folder = os.fsencode(root) + b"/" + name + b"/"
        os.makedirs(folder + names[0] + b"_mask", exist_ok=True)
        for i, file in enumerate([*(b"image-%d" % i for i in range(10)), *names]):
            _write(folder + file + b".png", encoded(pixels(100 * label + i)))
            _write(folder + file + b".dcm", b"damaged")
            _write(folder + names[0] + b"_mask/" + file, b"mask")
    _write(os.fsencode(root) + b"/" + names[0], b"loose")
    return root


def _write(file: bytes, data: bytes) -> None:
    with open(file, "wb") as stream:
        stream.write(data)


def scan(root: Path, **options: object) -> Manifest:
    return dataset.scan(SourceSpec(source=str(root), **options), cache_dir=root.parent / "cache")  # type: ignore[arg-type]


@settings(max_examples=5)
@given(names=NAMES)
def test_any_names_are_read_and_shown_in_one_line_each(names: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = source(Path(folder) / "source", names)
        manifest = scan(root)
        assert len(manifest.records) == len(manifest.rejected) == 2 * (10 + len(names))
        assert scan(root) == manifest  # as it is remembered
        assert {os.fsencode(path.name) for path in folders.images_in(root)} >= {name + b".png" for name in names}
    lines = _lines(lambda console: show_left_out(console, manifest.left_out))
    assert len(lines) == len(manifest.left_out)
    lines += _lines(lambda console: show_rejected(console, manifest.rejected))
    assert all(line.isprintable() and line.encode() for line in lines)
    assert sum("is not a JPEG" in line for line in lines) == 10


def _lines(show: Callable[[Console], None]) -> list[str]:
    file = io.StringIO()
    show(Console(file=file, width=10_000))
    return [line.rstrip() for line in file.getvalue().split("\n") if line]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("odd") / "source", list(ODD))


def test_pages_arrays_and_links_of_odd_names(odd: Path, tmp_path: Path) -> None:
    manifest = scan(odd)
    roles = split.assign_roles(manifest, SplitSpec())
    looked = image_facts.look(manifest)
    found = audit.audit(manifest, roles, looked)
    assert all(line.isprintable() and line.encode() for line in _lines(lambda console: show_audit(console, found)))
    assert json.dumps(encodable(codec.to_json(found)), ensure_ascii=False).encode()
    page = audit_page.write(tmp_path / "page.html", manifest, roles, found, looked)
    text = page.read_text("utf-8")
    assert "caf\\udce9.png" in text
    assert "two\\nlines.dcm" in text
    assert "\x1b" not in text
    folder = preprocess.prepare(manifest, roles, DataSpec(image_size_px=8), cache_dir=tmp_path)
    paths = {path for role in split.USED_ROLES for path in preprocess.open_role(folder, role).paths}
    assert paths == {record.path for record in manifest.records}
    back = scan(split.write_links(manifest, roles, tmp_path / "links"))
    assert sorted(record.digest for record in back.records) == sorted(record.digest for record in manifest.records)
    npz = preprocess.write_npz(folder, tmp_path / "arrays.npz")
    assert len(scan(npz).records) == len(manifest.records)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_table_names_files_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    names = ["café", "naïve", "plain"]
    root = tmp_path / "images"
    root.mkdir()
    for i, name in enumerate(names):
        _write(os.fsencode(root) + b"/" + name.encode("latin-1") + b".png", encoded(pixels(i)))
    rows = "".join(f"{name}.png,{i % 2}\n" for i, name in enumerate(names))
    (root / "labels.csv").write_bytes(f"image,label\n{rows}".encode(encoding))
    manifest = scan(root, labels=LabelTable(file="labels.csv"))
    assert sorted(record.label for record in manifest.records) == [0, 0, 1]


def test_rows_and_files_of_a_table_forge_no_line(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for i, name in enumerate((b"a", b"b", b"not\nin\xe9 it")):
        _write(os.fsencode(root) + b"/" + name + b".png", encoded(pixels(i)))
    (root / "labels.csv").write_bytes(b'image,label\na,0\nb,1\n"not\nthere\xe9",1\n')
    left_out = [str(entry) for entry in scan(root, labels=LabelTable(file="labels.csv")).left_out]
    assert "1 rows left out, whose image is not there: not\\nthere\\udce9" in left_out
    assert "1 files left out, without a row in the table: not\\nin\\udce9 it.png" in left_out


def test_names_mean_the_same_in_latin_1_and_utf_8() -> None:
    assert naming.key(os.fsdecode("Größe".encode("latin-1"))) == naming.key("GRÖSSE") == naming.key("größe")


def test_json_for_programs_has_no_lone_surrogates(capsys: pytest.CaptureFixture[str]) -> None:
    printing.result({"path": os.fsdecode(b"caf\xe9\n.png"), os.fsdecode(b"\xff"): [1, None]})
    assert json.loads(capsys.readouterr().out) == {"path": "caf\\udce9\n.png", "\\udcff": [1, None]}
