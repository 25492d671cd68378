"""The library's front door, and the composition root: it alone sees the engine and the layers.

No call prints, exits or keeps global state. Everything the command line does, it does through here.
"""

from lab.api.adopting import Adopted, Login
from lab.api.facade import Lab
from lab.api.saved import SavedPlan
from lab.api.standing import HostStatus, LayerStatus, Standing
from lab.engine import Approval
from lab.engine.survey import SurveyReport

__all__ = [
    "Adopted",
    "Approval",
    "HostStatus",
    "Lab",
    "LayerStatus",
    "Login",
    "SavedPlan",
    "Standing",
    "SurveyReport",
]
