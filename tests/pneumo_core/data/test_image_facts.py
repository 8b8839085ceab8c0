from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from pneumo_core.data import audit, dataset, image_facts
from pneumo_core.data.split import assign_roles
from pneumo_core.specs import SplitSpec
from tests.pneumo_core.pictures import folder, pixels


def test_facts_of_one_image() -> None:
    grey = pixels(1, width=200, height=160)
    brightness, contrast, sharpness, border = image_facts.measure(grey)
    assert 0 < brightness < 255
    assert border == 0
    framed = np.pad(grey, 80)
    assert image_facts.measure(framed)[3] > 0.3
    blurred = np.asarray(Image.fromarray(grey).filter(ImageFilter.GaussianBlur(3)))
    assert image_facts.measure(blurred)[2] < sharpness
    assert image_facts.measure(np.full_like(grey, 9))[1:] == (0.0, 0.0, 1.0)
    assert contrast > 0


def test_the_audit_names_facts_that_tell_the_classes_and_copies(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", 20)
    for file in (root / "PNEUMONIA").iterdir():
        Image.open(file).point(lambda v: v // 3).save(file)
    mirrored = Image.open(root / "NORMAL" / "IM-0000-0000.jpeg").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(root / "NORMAL" / "IM-0099-0000.jpeg")
    manifest = dataset.scan(root, cache_dir=tmp_path / "cache")
    found = audit.audit(manifest, assign_roles(manifest, SplitSpec()), image_facts.look(manifest))
    assert found.image_facts["brightness"] > 0.95
    assert [(pair.first, pair.second, pair.how) for pair in found.copies] == [
        ("NORMAL/IM-0000-0000.jpeg", "NORMAL/IM-0099-0000.jpeg", "mirrored")
    ]
    assert any("brightness alone predicts the class" in warning for warning in found.warnings)
    assert any("1 pairs are mirrored, rotated or inverted copies" in warning for warning in found.warnings)
