"""Which certificate is believed, as an SSL context: one pinned, one authority's, or this machine's.

A pinned certificate is fetched first, compared, and then the only anchor of the context: it is
verified like any other, and nothing else can be. No request is ever sent to anybody else.
"""

from __future__ import annotations

import hashlib
import socket
import ssl

from lab.clients.proxmox.access import Access
from lab.errors import DriverError, TransportError

_TIMEOUT = 5.0
_SHOW = (
    "openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem   (on the node; or "
    "pveproxy-ssl.pem where that exists)"
)


def context(access: Access) -> ssl.SSLContext:
    """A context that accepts this cluster's certificate and no other.

    Raises TransportError where nobody answers, DriverError where it is the wrong one.
    """
    if access.fingerprint is None:
        try:
            return ssl.create_default_context(cadata=access.ca or None)
        except ssl.SSLError as error:
            raise DriverError(
                f"Unable to use the certificate authority of {access.url}: {error.reason}.",
                hint="mend ca: of the provider in lab.yaml",
            ) from error
    pinned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pinned.check_hostname = False  # the one certificate is the whole of who it is
    pinned.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    pinned.load_verify_locations(cadata=certificate(access))
    return pinned


def certificate(access: Access) -> str:
    """The pinned certificate in PEM, for programs that take a file of authorities.

    Raises like :func:`context`.
    """
    shown = _shown(access)
    digest = hashlib.sha256(shown).hexdigest().upper()
    found = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
    if found != access.fingerprint:
        raise wrong_certificate(access, f"it has the fingerprint {found}")
    return ssl.DER_cert_to_PEM_cert(shown)


def wrong_certificate(access: Access, why: str) -> DriverError:
    """The refusal to talk to somebody who may be somebody else."""
    if access.fingerprint is not None:
        return DriverError(
            f"Unable to trust {access.url}: {why}, and lab.yaml says {access.fingerprint}.",
            hint=_SHOW,
        )
    return DriverError(
        f"Unable to trust {access.url}: {why}.",
        hint="write fingerprint: (or ca:) for the provider in lab.yaml; it is shown by: " + _SHOW,
    )


def _shown(access: Access) -> bytes:
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE  # to see the certificate and hang up; nothing is sent
    try:
        with (
            socket.create_connection((access.host, access.port), timeout=_TIMEOUT) as plain,
            asking.wrap_socket(plain, server_hostname=access.host) as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
    except OSError as error:
        raise unreachable(access, "see its certificate", error) from error
    if shown is None:
        raise wrong_certificate(access, "it shows no certificate")
    return shown


def unreachable(access: Access, doing: str, error: Exception) -> TransportError:
    """The exception for a node that cannot be reached; nothing was asked of it."""
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        cause = "it does not answer"
    port = "" if ":" in access.url.removeprefix("https://") else " (the usual port is :8006)"
    return TransportError(
        f"Unable to {doing} at {access.url}: {cause}.",
        hint=f"nc -vz {access.host} {access.port}   (url: of the provider in lab.yaml{port})",
    )
