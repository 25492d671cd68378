"""Pure: what stands between a host and a cluster of Proxmox VE, from what was seen of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lab.model.outcome import Finding, Level
from lab.model.proxmox import Proxmox
from lab.model.pve_firewall import ELSEWHERE, SWITCH_NODE_ON, SWITCH_ON
from lab.model.units import show_size
from layers.l0_runway.cluster import Bridge, Cluster, Missing, Needs, Store

_GIB = 1 << 30
_OLDEST, _NEWEST = (8, 0), 9
_OLDEST_IMPORT = (8, 4)  # before it only OVA files could be imported by the API
_BIG_SKEW = 30.0
_FEW_IDS = 10
_NAMED = 3
_ROOT = "(as root, on the node)"


def needs(provider: Proxmox, machine: Any, image: Any) -> Needs:
    """What a host asks of its cluster."""
    return Needs.of(provider, machine, image)


def willing(needs: Needs) -> Cluster:
    """A cluster that lacks nothing of what the host asks."""
    provider = needs.provider
    content = ("images", "rootdir", "import", "iso", "vztmpl", "backup")
    names = (
        provider.storage,
        provider.template_storage,
        provider.seed_storage,
        provider.backup_storage,
        needs.vztmpl,
    )
    plenty = Store(content=content, free=1 << 50, total=1 << 50)
    return Cluster(
        needs=needs,
        version="9.1.5",
        nodes={provider.node: True},
        cpus=needs.cpu,
        memory_free=needs.memory,
        memory_total=needs.memory,
        stores={name: plenty for name in names if name},
        bridges={needs.card.bridge: Bridge()},
        ids_left=1 << 10,
        template_ids_left=1 << 10,
        firewall=True,
        node_firewall=True,
    )


def findings(cluster: Cluster) -> Iterator[Finding]:
    """Everything that was looked at, in the order in which one thing rests on another."""
    if cluster.problem:
        yield Finding(Level.FAIL, _where(cluster), cluster.problem, cluster.hint)
        return
    yield Finding(Level.PASS, _where(cluster), "answers, and its certificate is the right one")
    yield _version(cluster)
    if cluster.powerless:
        yield _powerless(cluster)
        return
    yield from _privileges(cluster)
    yield _node(cluster)
    yield from _storages(cluster)
    yield from _network(cluster)
    yield from _firewall(cluster)
    yield from _identity(cluster)
    yield from _size(cluster)
    yield _clock(cluster)


def _where(cluster: Cluster) -> str:
    return f"proxmox {cluster.needs.provider.url.removeprefix('https://')}"


def _version(cluster: Cluster) -> Finding:
    numbers = tuple(int(n) for n in re.findall(r"\d+", cluster.version)[:2])
    what, told = "proxmox version", f"version {cluster.version}"
    if not numbers or numbers < _OLDEST:
        return Finding(Level.FAIL, what, f"{told} is older than 8", "upgrade it: pve8to9 --full")
    if cluster.needs.image and numbers < _OLDEST_IMPORT:
        why = f"{told} cannot take the disk of a template: that needs 8.4 or newer"
        return Finding(Level.FAIL, what, why, f"apt-get update && apt-get dist-upgrade   {_ROOT}")
    if numbers[0] > _NEWEST:
        return Finding(Level.WARN, what, f"{told} is newer than those this was made for (8 and 9)")
    return Finding(Level.PASS, what, told)


def _powerless(cluster: Cluster) -> Finding:
    user = cluster.who.partition("!")[0]
    return Finding(
        Level.FAIL,
        "proxmox privileges",
        f"{cluster.who} is valid and may do nothing: what it cannot see is not absent",
        f"docs/proxmox.md gives {user} its roles; a token with --privsep 1 needs them itself, too",
    )


def _privileges(cluster: Cluster) -> Iterator[Finding]:
    for missing in cluster.missing:
        what = f"proxmox privileges on {missing.path}"
        told = f"{cluster.who} lacks {', '.join(missing.privileges)}"
        yield Finding(Level.FAIL, what, told, grant(missing, cluster.who))
    if not cluster.missing:
        yield Finding(Level.PASS, "proxmox privileges", f"{cluster.who} may do what is needed")


def grant(missing: Missing, who: str) -> str:
    """The line that gives what is missing; the role is that of docs/proxmox.md."""
    user = who.partition("!")[0]
    here_alone = " --propagate 0" if missing.path == "/" else ""
    return (
        f"pveum role modify {missing.role} --append 1 --privs '{' '.join(missing.privileges)}' && "
        f"pveum acl modify {missing.path} --roles {missing.role} --users {user} --tokens '{who}'"
        f"{here_alone}   {_ROOT}"
    )


def _node(cluster: Cluster) -> Finding:
    node = cluster.needs.provider.node
    what = f"proxmox node {node}"
    if node not in cluster.nodes:
        known = ", ".join(sorted(cluster.nodes)) or "none"
        hint = "mend node: of the provider in lab.yaml"
        return Finding(Level.FAIL, what, f"there is no such node (there are: {known})", hint)
    if not cluster.nodes[node]:
        return Finding(Level.FAIL, what, "offline", "pvecm status   (on another node)")
    return Finding(Level.PASS, what, "online")


def _storages(cluster: Cluster) -> Iterator[Finding]:
    needs, provider = cluster.needs, cluster.needs.provider
    wanted: dict[str, set[str]] = {}
    if needs.machine:
        kind = "images" if needs.machine == "vm" else "rootdir"
        wanted.setdefault(provider.storage, set()).add(kind)
    if needs.machine == "vm":
        wanted.setdefault(provider.seed_storage, set()).add("iso")
    if needs.vztmpl:
        wanted.setdefault(needs.vztmpl, set()).add("vztmpl")
    if needs.image:
        wanted.setdefault(provider.storage, set()).add("images")
        wanted.setdefault(provider.template_storage, set()).add("import")
    if needs.backups:
        wanted.setdefault(needs.backups, set()).add("backup")
    for name, content in wanted.items():
        yield from _storage(cluster, name, content)


def _storage(cluster: Cluster, name: str, wanted: set[str]) -> Iterator[Finding]:
    what, store = f"proxmox storage {name}", cluster.stores.get(name)
    if store is None:
        if any(m.path == f"/storage/{name}" for m in cluster.missing):
            return  # not to be seen, and the privilege that shows it was told
        known = ", ".join(sorted(cluster.stores)) or "none"
        why = f"{cluster.needs.provider.node} has no such storage (it has: {known})"
        hint = (
            "mend storage:, template_storage:, seed_storage: or backup_storage: of the provider in"
            " lab.yaml"
        )
        yield Finding(Level.FAIL, what, why, hint)
        return
    if not store.active:
        level = Level.WARN if wanted == {"backup"} else Level.FAIL  # machines do without it
        yield Finding(level, what, "not active on this node", f"pvesm status   {_ROOT}")
        return
    lacking = sorted(wanted - set(store.content))
    if lacking:
        content = ",".join(sorted({*store.content, *wanted}))
        why = f"it takes no content of the kind {', '.join(lacking)}"
        hint = f"pvesm set {name} --content {content}   {_ROOT}"
        yield Finding(Level.FAIL, what, why, hint)
    else:
        yield _room(cluster, name, store)


def _room(cluster: Cluster, name: str, store: Store) -> Finding:
    beside = cluster.beside
    what, told = f"proxmox storage {name}", f"{show_size(store.free)} free"
    own_first, own_grown = cluster.needs.written(
        exists=cluster.exists, template=makes_template(cluster)
    )
    now, later = own_first.get(name, 0), own_grown.get(name, 0)
    hint = f"pvesm list {name}   {_ROOT}"
    if now > store.free:
        return Finding(Level.FAIL, what, f"{show_size(now)} are needed now, {told}", hint)
    if now and (all_now := now + beside.first.get(name, 0)) > store.free:
        why = f"{show_size(all_now)} are needed now{_together(cluster)}, {told}"
        return Finding(Level.FAIL, what, why, f"converge fewer hosts at once, or: {hint}")
    if name == cluster.needs.backups and (root := cluster.needs.root) > store.free:
        why = f"a captured boot disk can take up to {show_size(root)}, and there are {told}"
        return Finding(Level.WARN, what, why, hint)
    if later > store.free:
        why = f"the declared disks can grow to {show_size(later)}, and there are {told}"
        return Finding(Level.WARN, what, why, hint)
    if later and (all_later := later + beside.grown.get(name, 0)) > store.free:
        why = f"the declared disks{_together(cluster)} can grow to {show_size(all_later)}"
        return Finding(Level.WARN, what, f"{why}, and there are {told}", hint)
    return Finding(Level.PASS, what, told)


def makes_template(cluster: Cluster) -> bool:
    """Whether the host's template is not there yet."""
    return bool(cluster.needs.image) and not cluster.templates


def _together(cluster: Cluster) -> str:
    """With whom; the first of many."""
    others = cluster.beside.hosts
    told = ", ".join(others[:_NAMED]) + (" …" if len(others) > _NAMED else "")
    return f" together with {told}"


def _firewall(cluster: Cluster) -> Iterator[Finding]:
    """A twin is closed off by the node's firewall: without one it is not made."""
    if not cluster.needs.isolated:
        return
    node = cluster.needs.provider.node
    for what, on, mend in (
        ("proxmox firewall", cluster.firewall, SWITCH_ON),
        (
            f"proxmox firewall of {node}",
            cluster.node_firewall,
            SWITCH_NODE_ON.format(node=node),
        ),
    ):
        if on:
            yield Finding(Level.PASS, what, "on")
        elif on is False:
            why = "off: nothing would close off the twin"
            yield Finding(Level.FAIL, what, why, f"{mend}; {ELSEWHERE}")


def _network(cluster: Cluster) -> Iterator[Finding]:
    if not cluster.needs.machine:
        return
    card = cluster.needs.card
    what = f"proxmox bridge {card.bridge}"
    if cluster.bridges is None:
        return
    bridge = cluster.bridges.get(card.bridge)
    if bridge is None:
        if any(m.path.startswith("/sdn/") for m in cluster.missing):
            return  # not to be seen, and the privilege that shows it was told
        known = ", ".join(sorted(cluster.bridges)) or "none"
        why = f"{cluster.needs.provider.node} has no such bridge (it has: {known})"
        hint = "mend bridge: of the provider, or machine.network.bridge"
        yield Finding(Level.FAIL, what, why, hint)
    elif card.vlan is not None and not carries(bridge, card.vlan):
        why = f"it does not carry VLAN {card.vlan}"
        file = "/etc/network/interfaces"
        hint = f"bridge-vlan-aware yes and bridge-vids for it in {file}, then ifreload -a   {_ROOT}"
        level = Level.FAIL if bridge.vlan_aware else Level.WARN
        told = why if bridge.vlan_aware else f"{why} by itself: the node makes a bridge for it"
        yield Finding(level, what, told, hint)
    else:
        vlan = "" if card.vlan is None else f", and carries VLAN {card.vlan}"
        yield Finding(Level.PASS, what, f"there{vlan}")


def carries(bridge: Bridge, vlan: int) -> bool:
    """Whether a bridge lets that VLAN through (``"2-100 200"``)."""
    if not bridge.vlan_aware:
        return False
    for word in re.split(r"[\s,;]+", bridge.vids.strip()):
        first, _, last = word.partition("-")
        if first.isdigit() and int(first) <= vlan <= int(last if last.isdigit() else first):
            return True
    return False


def _identity(cluster: Cluster) -> Iterator[Finding]:
    ids, needs = cluster.needs.provider.vmids, cluster.needs
    if cluster.namesakes:
        others = ", ".join(f"VM {vmid}" for vmid in cluster.namesakes)
        one = len(cluster.namesakes) == 1
        told = "has the name of this host, and is" if one else "have the name of this host, and are"
        why = f"{others} {told} not this lab's: left alone"
        hint = f"pvesh get /cluster/resources --type vm   {_ROOT}"
        yield Finding(Level.WARN, "proxmox names", why, hint)
    pairs = []
    if needs.machine and not cluster.exists:
        kind, numbers = ("drills", ids.drills) if needs.isolated else ("machines", ids.machines)
        pairs.append((kind, numbers, cluster.ids_left, needs.ids, cluster.beside.ids))
    if makes_template(cluster):
        more = cluster.beside.template_ids
        pairs.append(("templates", ids.templates, cluster.template_ids_left, 1, more))
    for name, numbers, left, own, more in pairs:
        what, told = f"proxmox VMIDs for {name}", f"{left} of {numbers} are free"
        hint = f"widen vmids.{name} of the provider in lab.yaml"
        if not left:
            yield Finding(Level.FAIL, what, f"none of {numbers} is free", hint)
        elif own > left:
            yield Finding(Level.FAIL, what, f"{own} are needed, and only {told}", hint)
        elif own + more > left:
            why = f"{own + more} are needed{_together(cluster)}, and only {told}"
            yield Finding(Level.FAIL, what, why, hint)
        elif left < _FEW_IDS:
            yield Finding(Level.WARN, what, f"only {told}", hint)
        else:
            yield Finding(Level.PASS, what, told)
    if needs.image:
        there = ", ".join(cluster.templates)
        told = f"there: {there}" if there else "none yet: it is made first"
        yield Finding(Level.PASS, "proxmox templates", told)


def _size(cluster: Cluster) -> Iterator[Finding]:
    needs = cluster.needs
    if not needs.machine or not cluster.cpus:
        return
    node = needs.provider.node
    if needs.cpu > cluster.cpus:
        why = f"{needs.cpu} processors are declared, and {node} allows {cluster.cpus} a machine"
        yield Finding(Level.FAIL, "proxmox processors", why, "lower machine.cpu")
    else:
        yield Finding(Level.PASS, "proxmox processors", f"{node} has {cluster.cpus}")
    total, free = cluster.memory_total, cluster.memory_free
    if needs.memory > total:
        why = f"{show_size(needs.memory)} are declared, and {node} has {_about(total)} in all"
        yield Finding(Level.FAIL, "proxmox memory", why, "lower machine.memory")
    elif needs.memory > free and not cluster.exists:
        why = f"{show_size(needs.memory)} are declared, and {_about(free)} are free on {node}"
        yield Finding(Level.WARN, "proxmox memory", why, f"free -h   {_ROOT}")
    elif (all_ := needs.memory + cluster.beside.memory) > free and not cluster.exists:
        why = f"{show_size(all_)} are declared{_together(cluster)}"
        if all_ > total:
            told = f"{why}, and {node} has {_about(total)} in all"
            hint = "lower machine.memory, or make them on several nodes"
            yield Finding(Level.FAIL, "proxmox memory", told, hint)
        else:
            told = f"{why}, and {_about(free)} are free on {node}"
            yield Finding(Level.WARN, "proxmox memory", told, f"free -h   {_ROOT}")
    else:
        yield Finding(Level.PASS, "proxmox memory", f"{_about(free)} free on {node}")


def _about(size: int) -> str:
    return show_size(size // _GIB * _GIB) if size > _GIB else show_size(size)


def _clock(cluster: Cluster) -> Finding:
    ahead = cluster.skew
    if abs(ahead) < _BIG_SKEW:
        return Finding(Level.PASS, "proxmox clock", "runs with this machine's")
    which = "ahead of" if ahead > 0 else "behind"
    why = f"{abs(ahead):.0f} s {which} this machine's: tokens, certificates and logs disagree"
    return Finding(Level.WARN, "proxmox clock", why, f"timedatectl; chronyc makestep   {_ROOT}")
