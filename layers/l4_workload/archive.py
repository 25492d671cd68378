"""A container image as the archive that `docker load` reads. Pure Python, no Docker, no registry.

The same content gives the same bytes: entries are sorted, times are zero, names of users are left
out. The image's identity is the hash of its configuration, so it is known before it is loaded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from layers.l4_workload.spec import ImageSource

_EPOCH = "1970-01-01T00:00:00Z"
_MERGED = {"bin", "sbin", "lib", "lib64"}

# What a package brings that no container reads, and what mmdebstrap leaves for a whole system.
# Copyright files stay: the licences ask for it.
_LEFT_OUT = (
    "dev/",
    "etc/apt/",
    "etc/fstab",
    "etc/hostname",
    "etc/resolv.conf",
    "usr/share/info/",
    "usr/share/initramfs-tools/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "var/cache/apt/",
    "var/lib/apt/",
)


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image: where its archive is, how large, and the identity it will have."""

    archive: Path
    size: int
    identity: str


def write(
    name: str,
    source: ImageSource,
    labels: Mapping[str, str],
    architecture: str,
    root: Path | None,
    to: Path,
) -> Image:
    """Write image ``name`` to ``to``: the tree in the tar ``root``, then the source's files."""
    layer = to.with_suffix(".layer")
    try:
        with layer.open("wb") as stream:
            _write_layer(source, root, stream)
        with layer.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        config = _configuration(source, labels, architecture, digest)
        identity = hashlib.sha256(config).hexdigest()
        with (
            to.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(
                fileobj=cast("BinaryIO", packed), mode="w", format=tarfile.PAX_FORMAT
            ) as tar,
        ):
            _add(tar, f"{identity}.json", config)
            member = _member(f"{digest}/layer.tar")
            member.size = layer.stat().st_size
            with layer.open("rb") as stream:
                tar.addfile(member, stream)
            manifest = {
                "Config": f"{identity}.json",
                "RepoTags": [name],
                "Layers": [f"{digest}/layer.tar"],
            }
            _add(tar, "manifest.json", _json([manifest]))
    finally:
        layer.unlink(missing_ok=True)
    return Image(to, to.stat().st_size, f"sha256:{identity}")


def _configuration(
    source: ImageSource, labels: Mapping[str, str], architecture: str, layer: str
) -> bytes:
    config: dict[str, Any] = {
        "Env": [f"{k}={v}" for k, v in sorted(_environment(source).items())],
        "Labels": dict(labels),
        "WorkingDir": source.workdir,
        "User": source.user,
    }
    if source.command:
        config["Cmd"] = list(source.command)
    if source.expose:
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in sorted(source.expose)}
    return _json(
        {
            "architecture": architecture,
            "config": config,
            "created": _EPOCH,
            "history": [{"created": _EPOCH, "created_by": "strata"}],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        }
    )


def _environment(source: ImageSource) -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, **source.env}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _write_layer(source: ImageSource, root: Path | None, stream: BinaryIO) -> None:
    """One sorted layer. The source's own files win over those of packages."""
    own = {path.lstrip("/"): file for path, file in source.files.items()}
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as layer:
        if root is None:
            written: set[str] = set()
        else:
            with tarfile.open(root) as tree:
                written = _copy_tree(tree, layer, frozenset(own))
        for path, file in sorted(own.items()):
            for folder in _parents(path):
                if folder not in written:
                    layer.addfile(_folder(folder))
                    written.add(folder)
            _add(layer, path, file.content, 0o755 if file.executable else 0o644)


def _copy_tree(tree: tarfile.TarFile, layer: tarfile.TarFile, own: frozenset[str]) -> set[str]:
    members = {m.name.removeprefix("./").rstrip("/"): m for m in tree.getmembers()}
    kept = {name: m for name, m in members.items() if _is_kept(name, m) and name not in own}
    kept |= {name: _link(name) for name in _MERGED - kept.keys() if f"usr/{name}" in kept}
    hard = [m for m in kept.values() if m.islnk()]
    if any(m.linkname.removeprefix("./") not in kept for m in hard):
        raise ValueError("a package holds a hard link to a file that is left out")
    # Hard links follow what they point to, whatever their name sorts as.
    for name, member in sorted(kept.items(), key=lambda pair: (pair[1].islnk(), pair[0])):
        content = tree.extractfile(member) if member.isreg() else None
        plain = _member(name, member.mode)
        plain.type, plain.size = member.type, member.size if member.isreg() else 0
        plain.uid, plain.gid = member.uid, member.gid
        plain.linkname = member.linkname.removeprefix("./") if member.islnk() else member.linkname
        layer.addfile(plain, content)
    return {name for name, member in kept.items() if not member.isreg()}


def _is_kept(name: str, member: tarfile.TarInfo) -> bool:
    if not name or name == "." or member.isdev():
        return False
    if name.startswith("usr/share/doc/"):
        return name.endswith("/copyright")
    return not any(name == p.rstrip("/") or name.startswith(p) for p in _LEFT_OUT)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _member(name: str, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = mode & 0o7777
    return member


def _folder(name: str) -> tarfile.TarInfo:
    member = _member(name, 0o755)
    member.type = tarfile.DIRTYPE
    return member


def _link(name: str) -> tarfile.TarInfo:
    member = _member(name, 0o777)
    member.type, member.linkname = tarfile.SYMTYPE, f"usr/{name}"
    return member


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = _member(name, mode)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
