"""Pure: what Ansible is given: the one host, the play, the values; secrets only by reference."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.clients.shell import Endpoint
from lab.model.host import Host
from lab.model.secret import Secret, secrets_in
from layers.l3_system.spec.errands import PlaybookErrand, RolesErrand
from layers.l3_system.spec.handed import ROLES_ELSEWHERE

AnsibleErrand = RolesErrand | PlaybookErrand

SECRETS = "strata_secrets"
"""The variable that holds revealed secrets by name; it reaches Ansible through a pipe."""
_NOT_IN_GROUPS = re.compile(r"[^A-Za-z0-9_]")


def inventory(host: Host, to: Endpoint, known: Path | None, python: str) -> dict[str, Any]:
    """One host in the groups of its persona, its provider and its tags."""
    options = {"StrictHostKeyChecking": "yes"}
    if known is not None:
        options |= {
            "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": f"strata-{host.name}",
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
        }
    if to.identity_file is not None:
        options["IdentitiesOnly"] = "yes"
    variables: dict[str, Any] = {
        "ansible_host": to.address,
        "ansible_port": to.port,
        "ansible_ssh_common_args": " ".join(f"-o {k}={v}" for k, v in options.items()),
        "ansible_python_interpreter": python,
        **({"ansible_connection": "local"} if to.kind == "local" else {}),
        **({"ansible_become_password": referenced(to.sudo_password)} if to.sudo_password else {}),
        **({"ansible_user": to.user} if to.user else {}),
        **({"ansible_ssh_private_key_file": to.identity_file} if to.identity_file else {}),
        "strata_name": host.name,
        "strata_persona": host.persona,
        "strata_provider": host.provider,
        "strata_address": to.address,
        "strata_tags": sorted(host.tags),
        **referenced(dict(host.vars)),
    }
    names = {host.persona, host.provider, *host.tags}
    groups = {_NOT_IN_GROUPS.sub("_", name) for name in names} - {host.name, ""}
    return {
        "all": {
            "hosts": {host.name: variables},
            "children": {group: {"hosts": {host.name: {}}} for group in sorted(groups)},
        }
    }


def play(errand: RolesErrand) -> list[dict[str, Any]]:
    """The play that runs the roles, as one would write it."""
    return [
        {
            "name": "roles",
            "hosts": "all",
            "become": True,
            "gather_facts": any(role.gather_facts for role in errand.roles),
            "roles": [
                {"role": role.role.name, "vars": referenced(role.vars)} for role in errand.roles
            ],
        }
    ]


def extra_variables(errand: AnsibleErrand) -> dict[str, Any]:
    """What a playbook is given beside the host's own variables."""
    if isinstance(errand, PlaybookErrand):
        values: dict[str, Any] = referenced(errand.playbook.vars)
        return values
    return {}


def roles_path(errand: AnsibleErrand, host: Host, root: Path, configured: tuple[str, ...]) -> str:
    """Where roles are looked for, roles that other roles need included."""
    found = [
        root / role.role.tree.path
        for role in (errand.roles if isinstance(errand, RolesErrand) else ())
        if role.role.tree is not None
    ]
    places = [
        *(str(path.parent) for path in found),
        str(root / "personas" / host.persona / "roles"),
        str(root / "roles"),
        *(path if path.startswith("~") else str(root / path) for path in configured),
        *ROLES_ELSEWHERE,
    ]
    return ":".join(dict.fromkeys(places))


def referenced(value: Any) -> Any:
    """The value with a template in the place of each secret, as plain JSON."""
    if isinstance(value, Secret):
        return f"{{{{ {SECRETS}[{json.dumps(value.name)}] }}}}"
    if isinstance(value, Mapping):
        return {str(k): referenced(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [referenced(v) for v in value]
    return str(value) if isinstance(value, str) else value


def secrets_of(errand: AnsibleErrand, host: Host, to: Endpoint) -> dict[str, Secret]:
    """Every secret that a run needs, by name."""
    own = [errand.playbook] if isinstance(errand, PlaybookErrand) else errand.roles
    values = [*(piece.vars for piece in own), dict(host.vars), to.sudo_password]
    return {secret.name: secret for secret in secrets_in(values)}


def secrets_document(revealed: Mapping[str, str]) -> str:
    """YAML that sets them as they are: what looks like a template in one is no template."""
    pairs = (f"? {_yaml(name)} : !unsafe {_yaml(value)}" for name, value in revealed.items())
    return f"{SECRETS}: {{{', '.join(pairs)}}}\n"  # with ?, a key may have any length


def _yaml(text: str) -> str:
    plain = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(plain)}"'
