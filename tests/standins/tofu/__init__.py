"""A tofu with a provider for Proxmox VE, as a small program: for tests where the real ones are not.

``install(folder)`` puts a ``tofu`` there, to be found on the path. It takes the words that the
driver uses, speaks the same JSON, keeps a state and a plan, and makes the calls that the real
provider was seen to make. It proves the driver's logic, never the configuration: that is for the
real provider.
"""

import sys
from pathlib import Path


def install(folder: Path) -> Path:
    """A ``tofu`` in that folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "tofu"
    source = Path(__file__).with_name("program.py")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {source} "$@"\n')
    program.chmod(0o755)
    return program
