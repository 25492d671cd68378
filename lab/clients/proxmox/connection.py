"""The one module that imports proxmoxer: verified TLS, and its exceptions as ours."""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from proxmoxer.backends.https import Backend
from proxmoxer.core import ProxmoxResource, ResourceException
from requests.adapters import HTTPAdapter

from lab.clients.proxmox import trust
from lab.clients.proxmox.access import Access, Sent
from lab.clients.proxmox.failures import Unclear, refusal
from lab.errors import DriverError

_CONNECT = 5.0
_POOL = 16
_READS = frozenset({"get"})


class Connection:
    """One cluster's session; several threads may use it.

    ``skew`` is by how many seconds the node's clock is ahead of ours, as its last answer told.
    """

    def __init__(self, access: Access, timeout: float) -> None:
        token = access.token()
        self._access, self.who = access, token.who
        backend = Backend(
            f"[{access.host}]" if ":" in access.host else access.host,
            port=access.port,
            user=token.user,
            token_name=token.name,
            token_value=token.value,
            timeout=(_CONNECT, timeout),
        )
        session = backend.get_session()
        session.proxies = requests.utils.get_environ_proxies(access.url)
        session.trust_env = False  # looked at once: nothing else of the environment counts
        session.mount("https://", _Verified(trust.context(access)))
        session.hooks["response"].append(self._look_at_clock)
        self.skew: float | None = None
        self._session: requests.Session = session
        self._root = ProxmoxResource(
            base_url=backend.get_base_url(), session=session, serializer=backend.get_serializer()
        )

    def call(self, method: str, path: str, params: Mapping[str, Any], doing: str) -> Any:
        """One exchange. Raises Refused, Unclear (changes only), TransportError, DriverError."""
        steps = path.strip("/").split("/")
        try:
            return getattr(self._root(steps), method)(**_plain(params))
        except ResourceException as error:
            raise self._said_no(error, doing) from error
        except requests.exceptions.RequestException as error:
            raise self._broke(error, doing, changes=method not in _READS) from error

    def upload(self, path: str, file: Sent, params: Mapping[str, Any], doing: str) -> Any:
        """Send a file in a stream, telling how much of it is gone."""
        try:
            with file.path.open("rb") as opened:
                counted = _Counted(opened, file)
                steps = path.strip("/").split("/")
                return self._root(steps).post(**_plain(params), filename=counted)
        except ResourceException as error:
            raise self._said_no(error, doing) from error
        except requests.exceptions.RequestException as error:
            raise self._broke(error, doing, changes=True) from error
        except OSError as error:
            raise DriverError(f"Unable to {doing}: {file.path}: {error.strerror}.") from error

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    def _look_at_clock(self, answer: requests.Response, *_: Any, **__: Any) -> None:
        try:
            told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return
        self.skew = told - time.time()

    def _said_no(self, error: ResourceException, doing: str) -> DriverError:
        errors = error.errors if isinstance(error.errors, dict) else None
        plain = {str(k): str(v).strip() for k, v in errors.items()} if errors else None
        if plain and set(plain) == {"errors"}:  # the body was no JSON
            plain = None
        return refusal(doing, int(error.status_code), str(error.content or ""), plain, self.who)

    def _broke(
        self, error: requests.exceptions.RequestException, doing: str, *, changes: bool
    ) -> DriverError:
        if isinstance(error, requests.exceptions.SSLError):
            return trust.wrong_certificate(self._access, f"its certificate does not hold ({error})")
        cause = _innermost(error)
        refused = isinstance(cause, ConnectionRefusedError)
        early = isinstance(error, requests.exceptions.ConnectTimeout) or refused
        if changes and not early:
            return Unclear(
                f"Unable to {doing} at {self._access.url}: the connection broke before the answer "
                f"came ({cause}).",
                hint="the same command again; it looks first what was done",
            )
        return trust.unreachable(self._access, doing, cause)


class _Verified(HTTPAdapter):
    """TLS by one context, whatever the environment or a caller says."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(pool_maxsize=_POOL)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """With our context."""
        kwargs |= {"ssl_context": self._tls, "assert_hostname": self._tls.check_hostname and None}
        super().init_poolmanager(*args, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """With our context, too."""
        kwargs |= {"ssl_context": self._tls, "assert_hostname": self._tls.check_hostname and None}
        return super().proxy_manager_for(*args, **kwargs)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Where to, and nothing about certificates: the context knows."""
        host, _ = super().build_connection_pool_key_attributes(request, bool(verify), cert)
        return host, {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing to add: the context knows."""


class _Counted(io.RawIOBase):
    """A file that tells how much of it was read; its type makes the library send a stream."""

    def __init__(self, file: io.BufferedReader, sent: Sent) -> None:
        super().__init__()
        self._file, self._counting = file, sent.counting
        self._total = sent.path.stat().st_size
        self.name = sent.name
        self._told = 0.0

    def fileno(self) -> int:
        """As the file: its size is found by it."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """The next piece."""
        piece = self._file.read(size)
        now, done = time.monotonic(), self._file.tell()
        if now - self._told > 0.2 or done == self._total:  # noqa: PLR2004 (a person reads it)
            self._told = now
            self._counting(done, self._total)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As the file."""
        return self._file.tell()

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Truth values as 1 and 0, the only ones that forms take; underscores stay."""
    return {
        name: int(value) if isinstance(value, bool) else value
        for name, value in params.items()
        if value is not None
    }


def _innermost(error: BaseException) -> Exception:
    """What really happened, below the library's wrappings."""
    here: BaseException = error
    while True:
        inner = here.__cause__ or here.__context__
        reason = next((a for a in here.args if isinstance(a, Exception)), None)
        below = getattr(here, "reason", None) or reason or inner
        if not isinstance(below, Exception) or below is here:
            return here if isinstance(here, Exception) else Exception(str(here))
        here = below
