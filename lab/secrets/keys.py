"""Key pairs for ssh and WireGuard."""

from __future__ import annotations

import base64

from lab.secrets.sops.cipher import key_library


def ssh(comment: str) -> tuple[str, str]:
    """An Ed25519 key as ``ssh-keygen`` writes it: the private file, the public line."""
    serialization, ed25519, _ = key_library()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), f"{public.decode()} {comment}".strip()


def wireguard() -> tuple[str, str]:
    """A key as ``wg genkey`` and ``wg pubkey`` print them."""
    serialization, _, x25519 = key_library()
    key = x25519.X25519PrivateKey.generate()
    raw = serialization.Encoding.Raw
    private = key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    clamped = bytes([private[0] & 248, *private[1:31], (private[31] & 127) | 64])
    public = key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    return base64.b64encode(clamped).decode(), base64.b64encode(public).decode()
