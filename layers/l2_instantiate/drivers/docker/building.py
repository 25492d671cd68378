"""What makes a machine of a container: made, given its identity, changed, removed. Repeatable."""

from __future__ import annotations

import hashlib
import shutil
import threading

from lab.clients.docker import Refused
from lab.clients.shell import Endpoint, shells
from lab.errors import DriverError, NotOwned
from lab.faults import point
from layers.l2_instantiate import keys, network
from layers.l2_instantiate.drivers.docker import body, containers, injection, volumes
from layers.l2_instantiate.drivers.docker.containers import PORT, Found
from layers.l2_instantiate.drivers.docker.place import Place, Record
from layers.l2_instantiate.home import private_folder
from layers.l2_instantiate.wanted import Machine

# Below the ports that Linux gives to outgoing connections.
_FIRST_PORT, _PORTS = 20000, 12000
_NO_SUCH_IMAGE = 404


class PortBook:
    """Ports that this run has promised to machines; so that no two get the same."""

    def __init__(self, workspace: object) -> None:
        del workspace
        self._promised: dict[int, str] = {}
        self._lock = threading.Lock()

    def promise(self, place: Place, kept: int) -> int:
        """The port that the host had, else one that is its own wherever possible."""
        digest = hashlib.sha256(place.name.encode()).digest()
        start = int.from_bytes(digest[:4], "big")
        wished = [kept] if kept else []
        usual = (_FIRST_PORT + (start + step) % _PORTS for step in range(_PORTS))
        with self._lock:
            others = {p for p, who in self._promised.items() if who != place.name}
            others |= _ports_of_others(place)
            for port in (*wished, *usual):
                if port not in others and network.is_free(body.ssh_forward(port)):
                    self._promised[port] = place.name
                    return port
        raise DriverError(f"Unable to make {place.host}: no port is free for its SSH.")


def make_container(target: Machine, place: Place) -> Found:
    """A container of the template, its identity inside it, not yet started."""
    template = target.inputs.template
    if template is None:
        raise DriverError(
            f"Unable to make {place.host}: it has no template yet.",
            hint=f"lab converge l1 host={place.host}",
        )
    record = _claim(target, place)
    point("l2.container.claimed")
    target.report("making the container")
    names = {name: place.volume(name) for name in target.spec.machine.disks}
    words = body.creation(target, record.port, place.labels, names, place.engine.about())
    doing = f"make the container of {place.host}"
    if target.spec.isolated:
        _make_network(place)
    try:
        place.engine.post("/containers/create", {"name": place.name}, words, doing=doing)
    except Refused as refused:
        if refused.status == _NO_SUCH_IMAGE:
            refused.hint = f"lab converge l1 host={place.host}"
        raise
    point("l2.container.made")
    found = require(place)
    inject(target, place, found)
    return found


def _make_network(place: Place) -> None:
    words = body.network(place.labels)
    doing = f"make the network of {place.host}"
    if place.engine.get(f"/networks/{words['Name']}", doing=doing) is None:
        place.engine.post("/networks/create", body=words, doing=doing)


def remove_network(place: Place) -> None:
    """The lab's isolated network, once its last machine has gone."""
    name, doing = body.network_of(place.labels), f"remove the network of {place.host}"
    found = place.engine.get(f"/networks/{name}", doing=doing)
    if found is not None and not found.get("Containers"):
        place.engine.delete(f"/networks/{name}", doing=doing)


def inject(target: Machine, place: Place, found: Found) -> None:
    """Give it its host key and its login; at its next start, or at once where it runs."""
    record = place.read() or Record(lab=place.workspace.lab, host=place.host, port=found.port)
    host_key, identity = keys.make_host_key(place), keys.make_login_key(place)
    login = target.spec.machine.login
    private, _ = keys.host_key_files(place)
    lines = (f"{identity} strata", *login.key_lines)
    script = injection.first_start(place.host, login.user, lines)
    packed = injection.archive(private.read_bytes(), host_key, script)
    path, doing = f"/containers/{found.id}/archive", f"give {place.host} its login"
    place.engine.send("PUT", path, {"path": "/"}, packed, doing=doing)
    if found.power == "running":
        inside = Endpoint(
            place.host, "container", found.id, user="root", engine=place.engine.address
        )
        shell = place.workspace.resource(shells).to(inside)
        shell.run(injection.ONLINE, doing="renew the login", deadline=60)
    point("l2.container.injected")
    given = {
        "container": found.id,
        "user": login.user,
        "authorized_keys": login.key_lines,
        "host_key": host_key,
        "identity": identity,
        "answered": record.answered and record.container == found.id,
    }
    place.write(record.model_copy(update=given))


def change_limits(target: Machine, place: Place, found: Found) -> None:
    """Processors and memory, while it runs."""
    words = body.limits(target.spec.machine, place.engine.about())
    if words:
        path, doing = f"/containers/{found.id}/update", f"change the limits of {place.host}"
        place.engine.post(path, body=words, doing=doing)


def remove_container(place: Place) -> None:
    """The container of that name, if it is ours; its disks stay."""
    found = containers.find(place.engine, place.name, place.host)
    if found is not None and not place.is_ours(found.labels):
        raise NotOwned(f"Unable to remove the container {place.name}: this lab did not make it.")
    if found is not None:
        _remove(place, found)
    volumes.remove_inner(place)


def remove_machine(place: Place) -> None:
    """Everything that goes with it; its record last, so that a crash leaves it ours."""
    remove_container(place)
    point("l2.container.removed")
    shutil.rmtree(place.host_keys, ignore_errors=True)
    if place.home.exists():
        for entry in place.home.iterdir():
            if entry != place.record:
                entry.unlink(missing_ok=True)
        point("l2.container.forgetting")
        place.record.unlink(missing_ok=True)
        place.home.rmdir()


def require(place: Place) -> Found:
    """The container, which must be there and ours. Raises DriverError."""
    found = containers.find(place.engine, place.name, place.host)
    if found is None or not place.is_ours(found.labels):
        raise DriverError(
            f"Unable to change {place.host}: its container {place.name} is gone or is not this "
            "lab's.",
            hint=f"lab plan host={place.host}",
        )
    return found


def _claim(target: Machine, place: Place) -> Record:
    """The record of a machine that is made (again), on disk first; its name is free afterwards."""
    record = place.read()
    found = containers.find(place.engine, place.name, place.host)
    ours = found is not None and place.is_ours(found.labels)
    if found is not None and not ours and not target.adopt:
        raise NotOwned(
            f"Unable to make {place.host}: a container {place.name} exists, and is not this lab's."
        )
    if found is not None:
        _remove(place, found)
    volumes.remove_inner(place)
    kept = record.port if record else found.port if found and ours else 0
    port = place.workspace.resource(PortBook).promise(place, kept)
    record = Record(lab=place.workspace.lab, host=place.host, port=port)
    private_folder(place.home)
    place.write(record)
    return record


def _remove(place: Place, found: Found) -> None:
    query = {"force": True, "v": True}
    doing = f"remove the container of {place.host}"
    place.engine.delete(f"/containers/{found.id}", query, doing=doing)


def _ports_of_others(place: Place) -> set[int]:
    """Ports of other machines' containers, those that do not run now among them."""
    query = {"all": True, "filters": {"label": [PORT]}}
    doing = f"look for a port for {place.host}"
    found = place.engine.get("/containers/json", query, doing=doing) or ()
    return {int(c["Labels"][PORT]) for c in found if not place.is_ours(c["Labels"])}
