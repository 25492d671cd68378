"""A small ISO 9660 image with a few files, as cloud-init reads its seed from one."""

from __future__ import annotations

import io
from collections.abc import Mapping

from lab.errors import DriverError

CIDATA = "CIDATA"
"""The label by which cloud-init knows a seed."""


def written(files: Mapping[str, str], *, doing: str, label: str = CIDATA) -> bytes:
    """The image. Raises DriverError where the library for it is not installed."""
    try:
        import pycdlib  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise DriverError(
            f"Unable to {doing}: the library that writes its seed is not installed ({error.name}).",
            hint="pip install 'strata-lab[proxmox]'   (./bootstrap installs it)",
        ) from error
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=label)
    for name, text in files.items():
        raw = text.encode()
        disc.add_fp(
            io.BytesIO(raw),
            len(raw),
            f"/{name.upper().replace('-', '_')}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    image = io.BytesIO()
    disc.write_fp(image)
    disc.close()
    return image.getvalue()
