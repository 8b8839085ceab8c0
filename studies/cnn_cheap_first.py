"""The networks of `cnn`, tried on small images first: 3 epochs at 32 px, the best third to 6 epochs at 48 px, the best
third of these to the end at 64 px.

pneumo launch cnn_cheap_first --data FOLDER
"""

from studies import preferences
from studies.cnn import space
from studies.spec import UNDER_SHIFTS, FidelitySpec, Rung, StudySpec

STUDY = StudySpec(
    name="cnn_cheap_first",
    description="convolutional networks, 64 px, tried at 32 and 48 px first",
    space=space,
    objective=UNDER_SHIFTS,
    prefer=preferences.STANDARD,
    fidelity=FidelitySpec(rungs=(Rung(scale=0.5, epochs=3), Rung(scale=0.75, epochs=6)), reduction_factor=3),
)
