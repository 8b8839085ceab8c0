"""What `docs/backbones.md` shows: a study that loads, and every network with its cut points."""

import re
from pathlib import Path

from pneumo_core.catalog import BACKBONES
from studies import load
from tests.pneumo_core.models.test_stages import LAST_STAGE

TEXT = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text("utf-8")


def test_the_study_loads(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "fine_tune.py"
    file.write_text(code)
    assert load.load(str(file)).spec.name == "fine_tune"


def test_every_network_is_there_with_its_cut_points() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    for name, backbone in BACKBONES.items():
        (row,) = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        assert all(f"`{cut}`" in row for cut in LAST_STAGE[name])
        assert f"| {backbone.smallest_px} |" in row
        assert ("package" in row) == bool(backbone.package)
