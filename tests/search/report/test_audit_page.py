import shutil
from html.parser import HTMLParser
from pathlib import Path

from pneumo_core.data import audit, dataset, image_facts
from pneumo_core.data.split import assign_roles
from pneumo_core.specs import SplitSpec
from search.report import audit_page
from tests.pneumo_core.pictures import folder


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")


def test_the_page_shows_samples_pairs_and_what_is_set_aside(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", 20)
    shutil.copy(root / "NORMAL" / "IM-0000-0000.jpeg", root / "PNEUMONIA" / "person9_virus_99.jpeg")
    (root / "NORMAL" / "<b>.jpeg").write_bytes(b"no image")
    (root / "OTHER").mkdir()
    (root / "OTHER" / "a.png").write_bytes(b"x")
    manifest = dataset.scan(root, cache_dir=tmp_path / "cache")
    roles = assign_roles(manifest, SplitSpec())
    looked = image_facts.look(manifest)
    found = audit.audit(manifest, roles, looked)
    file = audit_page.write(tmp_path / "page.html", manifest, roles, found, looked)
    text = file.read_text("utf-8")
    tags = Tags()
    tags.feed(text)
    assert len(tags.images) > 40
    assert all(source.startswith("data:image/jpeg;base64,") for source in tags.images)
    assert "the same bytes; in both classes, so one label is wrong" in text
    assert "&lt;b&gt;.jpeg" in text
    assert "of no class that is read" in text
    for title in ("Samples", "Outliers", "Lowest and highest sharpness", "train: NORMAL"):
        assert title in text


def test_a_source_that_cannot_be_divided_has_a_page(tmp_path: Path) -> None:
    manifest = dataset.scan(folder(tmp_path / "data", 2), cache_dir=tmp_path / "cache")
    looked = image_facts.look(manifest)
    assert "all: NORMAL (2)" in audit_page.render(manifest, None, audit.audit(manifest, None, looked), looked)
