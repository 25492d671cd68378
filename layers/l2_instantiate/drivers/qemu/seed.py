"""The seed: a small disk from which cloud-init learns the host's name, login and identity."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from lab.clients.process import run
from layers.l2_instantiate.drivers.qemu.folder import Folder, Record
from layers.l2_instantiate.firstboot import FirstBoot
from layers.l2_instantiate.keys import host_key_files

_BYTES = 1024**2
# A user's PATH often lacks the folder that mkfs.vfat lives in.
_ENV = {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", "MTOOLSRC": ""}


def first_boot(record: Record) -> FirstBoot:
    """What the guest is told."""
    keys = (f"{record.identity} strata", *record.authorized_keys)
    return FirstBoot(record.host, record.user, keys, record.host_key)


def user_data(record: Record, private_host_key: str) -> str:
    """The cloud-config of that machine."""
    return first_boot(record).user_data(private_host_key)


def meta_data(record: Record) -> str:
    """The instance: another one whenever the guest must read its seed again."""
    login = [record.user, *record.authorized_keys, record.identity, record.host_key]
    digest = hashlib.sha256("\n".join(login).encode()).hexdigest()[:12]
    return first_boot(record).meta_data(f"{record.host}-{record.generation}-{digest}")


def write_seed(folder: Folder, record: Record) -> None:
    """Make the seed disk anew. It holds the private host key and is for this user alone."""
    private, _ = host_key_files(folder)
    new = folder.seed.with_name(".seed.img.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    with new.open("r+b") as file:
        file.truncate(_BYTES)
    doing = f"make the seed disk of {record.host}"
    run(["mkfs.vfat", "-n", "CIDATA", new], doing=doing, env=_ENV)
    with tempfile.TemporaryDirectory(prefix=".seed-", dir=folder.home) as place:
        files = {
            "user-data": user_data(record, private.read_text(encoding="ascii")),
            "meta-data": meta_data(record),
        }
        for name, text in files.items():
            (Path(place) / name).write_text(text, encoding="utf-8")
        paths = [Path(place) / name for name in files]
        run(["mcopy", "-i", new, *paths, "::"], doing=doing, env=_ENV)
    new.replace(folder.seed)
