"""Certificate authorities that every program of the host believes, besides the distribution's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

from lab.model.plan import Action, Blocker, Change
from layers.l3_system.kinds.kind import (
    Place,
    Section,
    Step,
    View,
    Wanted,
    compared,
    name_of,
    operands,
    pruned,
    quote,
)
from layers.l3_system.spec import Spec, Thing
from layers.l3_system.spec.software import certificate

NAME = "certificate_authority"
_FOLDER = "/usr/local/share/ca-certificates/strata-"
_LINKS = "/etc/ssl/certs/strata-"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

# Where the package ca-certificates is still to come, its own setup does it.
_UPDATE = """command -v update-ca-certificates >/dev/null || exit 0
said=$(update-ca-certificates 2>&1) || { echo "$said"; exit 1; }
"""


def wanted(spec: Spec, place: Place) -> dict[str, Wanted]:  # noqa: ARG001 (the kinds' signature)
    """Declared authorities, each as its certificate's fingerprint."""
    return {
        name: Wanted(
            {"sha256": _fingerprint(file.content), "trusted": True},
            content=_pem(file.content),
        )
        for name, file in spec.certificate_authorities.items()
    }


def _fingerprint(pem: bytes) -> str:
    """As ``openssl x509 -fingerprint -sha256`` tells it, without colons."""
    try:
        return hashlib.sha256(certificate(pem)).hexdigest()
    except ValueError:
        return ""


def _pem(content: bytes) -> bytes:
    """The certificate alone, in lines of 64; what else the file says is not for the bundle."""
    try:
        text = base64.b64encode(certificate(content)).decode()
    except ValueError:
        return b""
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join(
        ["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----\n"]
    ).encode()


def probe(wanted: Mapping[str, Wanted]) -> str:
    """One awk: the certificates, and which of their lines the bundle has."""
    return (
        f"{operands(NAME, wanted)}\nif [ $# != 0 ]; then\n"
        '  f=; for n in "$@"; do '
        f'p={_FOLDER}$n.crt; [ -f "$p" ] || continue\n'
        '    case " $f " in *" $p "*) continue ;; esac; f="$f $p"\n'
        f'    [ ! -e "{_LINKS}$n.pem" ] || mark {NAME} link "$n"\n  done\n'
        f"  b={_BUNDLE}; [ -r $b ] || b=\n"
        f"""  mark {NAME} lines; [ -z "$f" ] || awk -v bundle="$b" '
    FILENAME == bundle {{ if ($0 in want) have[$0]; next }}
    {{ line[++n] = FILENAME "\\t" $0; text[n] = $0; if (length($0) > 60) want[$0] }}
    END {{ for (i = 1; i <= n; i++) print line[i] "\\t" (text[i] in have) }}' $f $b\nfi"""
    )


def parse(sections: Sequence[Section]) -> dict[str, Thing]:
    """Fingerprint, and whether it is linked and in the bundle that programs read."""
    linked = {s.words[1] for s in sections if s.words[0] == "link"}
    texts: dict[str, list[str]] = {}
    believed: dict[str, bool] = {}
    for line in (line for s in sections if s.words[0] == "lines" for line in s.lines):
        path, text, there = line.split("\t", 2)
        name = path.removeprefix(_FOLDER).removesuffix(".crt")
        texts.setdefault(name, []).append(text)
        if len(text) > 60:  # noqa: PLR2004 (a full line of base64; shorter ones are too common)
            believed[name] = believed.get(name, True) and there == "1"
    return {
        name: Thing(
            fields={
                "sha256": _fingerprint("\n".join(lines).encode()),
                "trusted": believed.get(name, False) and name in linked,
            }
        )
        for name, lines in texts.items()
    }


def compare(name: str, view: View) -> Change | Blocker | None:
    """Bring it, replace it, or make it count."""
    return compared(NAME, name, view)


def prune(name: str, view: View) -> Change:
    """It is believed no longer."""
    return pruned(NAME, name, view)


def steps(changes: Sequence[Change], wanted: Mapping[str, Wanted]) -> list[Step]:
    """All files first, then one update for all."""
    lines, stdin = [], b""
    for change in changes:
        name, thing = name_of(change), quote(change.what)
        path = quote(f"{_FOLDER}{name}.crt")
        if change.action is Action.DELETE:
            lines.append(f"rm -f {path} {quote(f'{_LINKS}{name}.pem')}")
            continue
        content = wanted[name].content
        lines += [
            f"own {thing} made; mkdir -p {quote(_FOLDER.rpartition('/')[0])}",
            f"take {path}.strata-new {len(content)}",
            f"chmod 644 {path}.strata-new; mv -f {path}.strata-new {path}",
        ]
        stdin += content
    gone = [f"disown {quote(c.what)}" for c in changes if c.action is Action.DELETE]
    update = f"( set -e\n{_UPDATE})"
    return [Step(tuple(changes), "\n".join([*lines, update, *gone]), stdin)]
