"""YAML in, one validated :class:`Inventory` out; every mistake at once, as file:line:column.

Belongs here: reading and merging the lab's files, turning mistakes into plain words. Does not
belong here: what a persona's sections mean (each layer's ``spec.py`` says that).
"""

from lab.config.inventory import Inventory, find_root, lab_name, load
from lab.config.uses import secret_uses

__all__ = ["Inventory", "find_root", "lab_name", "load", "secret_uses"]
