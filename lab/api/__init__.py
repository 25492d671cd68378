"""The library's front door, and the composition root: it alone sees the engine and the layers.

No call prints, exits or keeps global state. Everything the command line does, it does through here.
"""

from typing import TYPE_CHECKING, Any

from lab.api.facade import Lab
from lab.api.saved import SavedPlan
from lab.api.standing import HostStatus, LayerStatus, Standing
from lab.engine import Approval
from lab.engine.survey import SurveyReport

if TYPE_CHECKING:
    from lab.api.adopting import Adopted, Login

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


def __getattr__(name: str) -> Any:
    """Writing machines down as files brings modules that nothing else needs."""
    if name in {"Adopted", "Login"}:
        from lab.api import adopting  # noqa: PLC0415 (that is the point)

        return getattr(adopting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
