"""Programs that `just peers` builds, or that are here anyway: tests go through them."""

import shutil

import pytest

from lab import folders

PEERS = folders.cache() / "strata" / "peers"  # looked up before the tests get folders of their own


def program(name):
    """Where that program is; ``None``: nowhere."""
    return shutil.which(name, path=str(PEERS)) or shutil.which(name)


def needs_tofu():
    """A real tofu (or a terraform) and the real provider; skipped without."""
    if not (program("tofu") or program("terraform")) or not (PEERS / "providers").is_dir():
        pytest.skip("the real tofu and provider are not here: just peers builds them, with Go")
