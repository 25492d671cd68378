"""What users write about captures: how they come, and how many are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Route = Literal["pull", "push", "auto"]


class Keep(BaseModel):
    """How many captures of each data set stay; the newest good one always does.

    Each counts the newest capture of so many days, weeks (from Monday), months and years, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    last: int = Field(3, ge=1, description="the newest ones, whatever their age")
    daily: int = Field(7, ge=0)
    weekly: int = Field(4, ge=0)
    monthly: int = Field(6, ge=0)
    yearly: int = Field(0, ge=0)
