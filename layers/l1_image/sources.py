"""Where this machine gets its Debian packages from, for another suite: read, never assumed."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.clients.process import run
from layers.l1_image.spec import Repository

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_CODENAMES = "buster|bullseye|bookworm|trixie|forky|duke|sid|stable|oldstable|testing"
_SUITE = re.compile(rf"(?:{_CODENAMES})(?P<pocket>|-updates|-security|/updates)\Z")
_OPTION = re.compile(r'^(Acquire::[A-Za-z0-9:._/-]+) "(.*)";$')
_SCHEMES = ("http://", "https://", "mirror+http://", "mirror+https://")
_LOOPBACK = re.compile(r"(?<=//)(localhost|127(?:\.\d+){3}|\[::1\])(?=[:/]|$)")
_PASSED_ON = re.compile(
    r"Acquire::(https?::|Check-Valid-Until$|Check-Date$|Max-FutureTime$|Retries$|ForceIPv[46]$)"
)
_MACHINE_ONLY = re.compile(r"::(Proxy-Auto-Detect|ProxyAutoDetect|CaInfo|CaPath|SslCert|SslKey)$")


@dataclass(frozen=True, slots=True)
class Source:
    """One archive of Debian: ``pocket`` is ``""``, ``"-updates"`` or ``"-security"``."""

    uri: str
    pocket: str
    components: tuple[str, ...]

    def line(self, suite: str, *, keyring: str = KEYRING) -> str:
        """One line of a sources.list."""
        signed = f"[signed-by={keyring}] " if keyring else ""
        return f"deb {signed}{self.uri} {suite}{self.pocket} {' '.join(self.components)}\n"

    def stanza(self, suite: str, this_machine: str) -> str:
        """The same in the newer form, as a guest sees the address."""
        uri = as_guest(self.uri, this_machine)
        return (
            f"Types: deb\nURIs: {uri}\nSuites: {suite}{self.pocket}\n"
            f"Components: {' '.join(self.components)}\nSigned-By: {KEYRING}\n"
        )


@dataclass(frozen=True, slots=True)
class Apt:
    """How apt is set up on this machine.

    Attributes:
        sources: Debian's archives; empty where this machine has none (it is not Debian).
        options: ``Acquire::…`` settings, complete, for use on this machine.
        certificates: CAs that this machine's administrator added, where apt uses https.
    """

    sources: tuple[Source, ...]
    options: tuple[tuple[str, str], ...]
    certificates: tuple[Path, ...]

    def guest_conf(self, this_machine: str) -> str:
        """apt.conf of the guest: the same ways out, without credentials and without our paths."""
        kept = [
            (key, as_guest(value, this_machine))
            for key, value in self.options
            if not _MACHINE_ONLY.search(key) and "@" not in value
        ]
        lines = ['Acquire::Languages "none";', *(f'{key} "{value}";' for key, value in kept)]
        return "\n".join(lines) + "\n"


def read(root: Path = Path("/etc/apt"), environment: Mapping[str, str] | None = None) -> Apt:
    """What this machine's apt is set to. Reads files and runs ``apt-config``."""
    env = os.environ if environment is None else environment
    sources = tuple(dict.fromkeys(_sources(root)))
    dump = run(["apt-config", "dump"], doing="read the settings of apt", deadline=20).text
    options = tuple(_options(dump, env))
    secure = any("https://" in s.uri for s in sources) or any(
        key == "Acquire::https::CaInfo" for key, _ in options
    )
    certificates = tuple(sorted(_LOCAL_CERTIFICATES.rglob("*.crt"))) if secure else ()
    return Apt(sources, options, certificates)


def as_guest(uri: str, this_machine: str) -> str:
    """An address of this machine's loopback, by the name that a guest has for this machine."""
    return _LOOPBACK.sub(this_machine, uri)


def repository_stanza(repository: Repository, this_machine: str = "") -> str:
    """A further repository, its key inside it; with ``this_machine`` as a guest sees it."""
    uri = as_guest(repository.uri, this_machine) if this_machine else repository.uri
    key = "\n".join(f" {line or '.'}" for line in armored(repository.key.content).splitlines())
    components = (
        ""
        if repository.suites[0].endswith("/")
        else f"Components: {' '.join(repository.components)}\n"
    )
    return (
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(repository.suites)}\n"
        f"{components}Signed-By:\n{key}\n"
    )


def armored(key: bytes) -> str:
    """An OpenPGP public key as text (RFC 9580, section 6), however it was given."""
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in key:
        return key.decode(errors="replace").strip()
    body = base64.b64encode(key).decode()
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    check = base64.b64encode(_crc24(key).to_bytes(3, "big")).decode()
    edge = "PGP PUBLIC KEY BLOCK-----"
    return "\n".join([f"-----BEGIN {edge}", "", *lines, f"={check}", f"-----END {edge}"])


def _crc24(content: bytes) -> int:
    crc = 0xB704CE
    for byte in content:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF


def _options(dump: str, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for line in dump.splitlines():
        match = _OPTION.match(line)
        if match and match[2] and _PASSED_ON.match(match[1]):
            seen.add(match[1].lower())
            yield match[1], match[2]
    for scheme in ("http", "https"):
        proxy = env.get(f"{scheme}_proxy", "")
        if proxy and f"acquire::{scheme}::proxy" not in seen and '"' not in proxy:
            yield f"Acquire::{scheme}::Proxy", proxy


def _sources(root: Path) -> Iterator[Source]:
    folder = root / "sources.list.d"
    for path in [root / "sources.list", *sorted(folder.glob("*.list"))]:
        for line in _text(path).splitlines():
            yield from _from_line(line)
    for path in sorted(folder.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", _text(path)):
            yield from _from_stanza(stanza)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _from_line(line: str) -> Iterator[Source]:
    match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
    if match:
        signed = re.search(r"signed-by=(\S+)", match[1] or "", re.IGNORECASE)
        yield from _debian(match[2], match[3], match[4].split(), signed[1] if signed else "")


def _from_stanza(stanza: str) -> Iterator[Source]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in {" ", "\t"}:
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "").lower() == "no":
        return
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            components = fields.get("components", "").split()
            yield from _debian(uri, suite, components, fields.get("signed-by", ""))


def _debian(uri: str, suite: str, components: list[str], signed: str) -> Iterator[Source]:
    """The entry, if it is one of Debian's own archives (others use its suites' names too)."""
    match = _SUITE.match(suite)
    ours = not signed or Path(signed.split(maxsplit=1)[0]).name.startswith("debian-archive")
    if match and ours and "main" in components and uri.startswith(_SCHEMES):
        pocket = "-security" if match["pocket"] == "/updates" else match["pocket"]
        yield Source(uri.rstrip("/"), pocket, tuple(components))
