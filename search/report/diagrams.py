"""Diagrams made of boxes: from the files that were found to the roles, and a network layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pneumo_core.data.split import RoleCount
from pneumo_core.result import Layer
from search.report.data import DataFlow
from search.report.markup import Html, count, join, plural, tag

_USES = {
    "train": "fits the models",
    "validation": "stops, prunes, ranks: everything in this report",
    "calibration": "sets the final threshold; not opened here",
    "test": "opened once at the very end; not opened here",
    "excluded": "shares a patient or a look with the test role",
}
_USES_OVER_FOLDS = dict.fromkeys(("train", "validation"), "by fold: fits, stops, prunes, ranks")
_OPENED = ("train", "validation")

MAX_LAYERS = 36  # drawn one by one; of more, neighbours with maps of one size share a box
_LOOKS = (  # of a layer, by a part of its kind
    ("conv", ("Conv",)),
    ("dense", ("Dense",)),
    ("pool", ("Pool", "Flatten", "Reshape")),
)


def flow(data: DataFlow, by_fold: bool = False) -> Html:
    """Draw images and patients of the source and of every role, and what it is for."""
    uses = _USES | (_USES_OVER_FOLDS if by_fold else {})
    unusable = [plural(len(data.rejected), "file") + " unusable"] if data.rejected else []
    counts = [plural(data.n_images, "image"), plural(data.n_patients, "patient group"), *unusable]
    source = tag("div", tag("b", "Source"), *(tag("span", text) for text in counts), class_="box source")
    roles = [_role(role, data, uses.get(role.role, "")) for role in data.roles]
    return tag("div", source, tag("ol", *roles), class_="flow")


def _role(role: RoleCount, data: DataFlow, use: str) -> Html:
    of_class = f"{count(role.n_positive)} {data.positive} · {count(role.n_negative)} {data.negative}"
    size = f"{plural(role.n_images, 'image')} of {plural(role.n_groups, 'patient group')}: {of_class}"
    look = "box opened" if role.role in _OPENED else "box"
    return tag("li", tag("b", role.role), tag("em", use), tag("span", size), class_=look)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A layer, or neighbours that give maps of one size."""

    title: str
    look: str
    shape: tuple[int, ...]
    n_parameters: int
    trains: bool


def network(layers: Sequence[Layer]) -> Html:
    """Draw the layers from image to score: what each gives, and how many parameters it has."""
    boxes = [_box([layer]) for layer in layers]
    if len(layers) > MAX_LAYERS:
        boxes = [_box(list(some)) for _, some in groupby(layers, key=lambda layer: layer.shape)]
    widest = max((box.shape[0] for box in boxes if len(box.shape) > 1), default=1)
    return tag("ol", *(_drawn(box, widest) for box in boxes), class_="network")


def n_trained(layers: Sequence[Layer]) -> int:
    """Return how many parameters belong to layers that train."""
    return sum(layer.n_parameters for layer in layers if layer.trains)


def _box(layers: Sequence[Layer]) -> Box:
    kinds = [layer.kind for layer in layers]
    counted = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    names = [f"{n} × {kind}" if n > 1 else kind for kind, n in counted.items()]
    heaviest = max(layers, key=lambda layer: layer.n_parameters)
    return Box(
        title=", ".join(names),
        look=next((look for look, parts in _LOOKS if any(part in heaviest.kind for part in parts)), "plain"),
        shape=layers[-1].shape,
        n_parameters=sum(layer.n_parameters for layer in layers),
        trains=any(layer.trains for layer in layers),
    )


def _drawn(box: Box, widest: int) -> Html:
    frozen = " frozen" if box.n_parameters and not box.trains else ""
    weights = [plural(box.n_parameters, "parameter") + (", frozen" if frozen else "")] if box.n_parameters else []
    side = box.shape[0] / widest if len(box.shape) > 1 else 0.0
    inside = [tag("b", box.title), tag("span", " × ".join(map(str, box.shape)), class_="shape")]
    inside += [tag("span", text, class_="weights") for text in weights]
    return tag("li", join(inside), class_=f"{box.look}{frozen}", style=f"width:{46 + 54 * side:.0f}%")
