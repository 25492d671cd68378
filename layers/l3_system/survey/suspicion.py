"""Whether a file had better not be copied: private keys, passwords, tokens, and what is no text."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_PATHS = (
    "/etc/shadow*", "/etc/gshadow*", "/etc/ssl/private/*", "/etc/letsencrypt/*", "*.key", "*.p12",
    "*.pfx", "*.jks", "*.kdbx", "*.keytab", "*/.htpasswd", "*htpasswd*", "*/secrets*", "*secret*",
    "*password*", "*passwd*", "*credential*", "*/id_rsa", "*/id_ed25519", "*/id_ecdsa",
    "/etc/wireguard/*", "/etc/NetworkManager/system-connections/*", "/etc/wpa_supplicant/*",
    "/etc/ppp/*-secrets", "/etc/ipsec.secrets", "/etc/msmtprc", "*/sasl_passwd*", "*/auth.conf",
    "*/auth.conf.d/*", "*.env", "*/.netrc", "*/.pgpass", "*/.my.cnf",
)  # fmt: skip
_WORDS = re.compile(
    r"(?im)"
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
    r"|AGE-SECRET-KEY-"
    r"|(?<![A-Za-z])(?:pass(?:word|phrase|wd)?|pwd|secret|token|api[_-]?key|access[_-]?key|psk|pre_?shared_?key"
    r"|private[_-]?key|client[_-]?secret|auth[_-]?key|bind_?pw|credentials?)"
    r"[\"']?[ \t]*[=:][ \t]*[\"']?(?!files\b|compat\b|prompt\b|no\b|yes\b|true\b|false\b|none\b)"
    r"[^\s\"'#;]{3,}"
    r"|://[^/\s:@]+:[^/\s:@]+@"
    r"|\$(?:1|2[aby]|5|6|y|argon2\w*)\$[./A-Za-z0-9$=,]{8,}"
)


def looks_secret(path: str, content: bytes) -> str:
    """Why it is not copied, in a few words; ``""`` where nothing speaks against it."""
    if any(fnmatchcase(path.lower(), pattern.lower()) for pattern in _PATHS):
        return "by its name it may be a secret"
    if b"\0" in content:
        return "binary"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "binary"
    return "it seems to hold a secret" if _WORDS.search(text) else ""
