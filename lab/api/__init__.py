"""The library's front door, and the composition root: it alone sees the engine and the layers.

No call prints, exits or keeps global state. Everything the command line does, it does through here.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lab.api.facade import Lab
from lab.engine import Approval

if TYPE_CHECKING:
    from lab.api.adopting import Adopted, Login
    from lab.api.saved import SavedPlan
    from lab.api.standing import HostStatus, LayerStatus, Standing
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


_LATER = {
    "Adopted": "lab.api.adopting",
    "HostStatus": "lab.api.standing",
    "LayerStatus": "lab.api.standing",
    "Login": "lab.api.adopting",
    "SavedPlan": "lab.api.saved",
    "Standing": "lab.api.standing",
    "SurveyReport": "lab.engine.survey",
}


def __getattr__(name: str) -> Any:
    """What most runs need none of is imported when somebody asks for it."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
