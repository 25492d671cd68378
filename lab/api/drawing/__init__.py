"""Drawings of the lab: a :class:`~lab.api.graph.Graph` in, text of some format out.

Belongs here: Mermaid, SVG and where things stand in it. Does not belong here: what the lab is made
of (``lab.api.graph``), and writing files.
"""

from lab.api.drawing.mermaid import drawable, mermaid
from lab.api.drawing.svg import svg

__all__ = ["drawable", "mermaid", "svg"]
