"""The program: version, init, plan, show, apply."""

import json
import os
import sys
import time
from pathlib import Path

import requests

STATE, CONFIG = "terraform.tfstate", "main.tf.json"
MIB, GIB = 1024**2, 1024**3
RETRIES = 3


class FailedError(Exception):
    pass


class Here:
    """Where it runs, with which environment, and where its words go."""

    folder = Path()
    env = os.environ
    write = sys.stdout.write


class Api:
    def __init__(self, endpoint):
        self.root = f"{endpoint}/api2/json/"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = Here.env["SSL_CERT_FILE"]
        token = Here.env["PROXMOX_VE_API_TOKEN"]
        self.session.headers["Authorization"] = f"PVEAPIToken={token}"

    def call(self, method, path, **words):
        put = {"params" if method in {"get", "delete"} else "data": words}
        tries = RETRIES if method == "get" else 1
        for left in reversed(range(tries)):
            try:
                answer = self.session.request(method, self.root + path, timeout=60, **put)
            except requests.RequestException as error:
                if left == 0:
                    raise FailedError(f"{method} {path}: {error}") from error
                continue
            if answer.status_code >= 400:
                errors = ""
                if answer.status_code == 400:
                    errors = json.dumps(answer.json().get("errors", {}))
                raise FailedError(
                    f"received an HTTP {answer.status_code} response - Reason: "
                    f"{answer.reason} {errors}"
                )
            return answer.json()["data"]
        raise AssertionError

    def task(self, upid, doing):
        node = upid.split(":")[1]
        while True:
            status = self.call("get", f"nodes/{node}/tasks/{upid}/status")
            if status["status"] == "stopped":
                break
            time.sleep(0.05)
        if status["exitstatus"] != "OK":
            raise FailedError(f"{doing}: {status['exitstatus']}")


def state():
    file = Here.folder / STATE
    return json.loads(file.read_text()) if file.exists() else {}


def keep(found):
    (Here.folder / STATE).write_text(json.dumps(found))


def wanted(one):
    """The configuration as the API has it."""
    network, memory, cpu = one["network_device"][0], one["memory"], one["cpu"]
    card = f"virtio={network['mac_address']},bridge={network['bridge']}"
    card += f",firewall={int(network['firewall'])}"
    card += f",tag={network['vlan_id']}" if network["vlan_id"] else ""
    found = {
        "name": one["name"],
        "description": one["description"].strip(),
        "cores": str(cpu["cores"]),
        "cpu": cpu["type"],
        "memory": str(memory["dedicated"]),
        "agent": f"enabled={int(one['agent']['enabled'])}",
        "boot": "order=" + ";".join(one["boot_order"]),
        "ide2": f"{one['cdrom']['file_id']},media=cdrom",
        "net0": card,
        "onboot": str(int(one["on_boot"])),
        "protection": str(int(one["protection"])),
        "tags": ";".join(one["tags"]),
    }
    if "startup" in one:
        names = {"order": "order", "up_delay": "up", "down_delay": "down"}
        pairs = [f"{names[k]}={v}" for k, v in one["startup"].items() if v != "-1"]
        found["startup"] = ",".join(pairs)
    return found


def words(text):
    return dict(w.partition("=")[::2] if "=" in w else ("", w) for w in text.split(","))


def same(key, now, then):
    if key in {"net0", "ide2", "agent", "cpu"}:
        now, then = words(now), words(then)
        now.pop("size", None)
        now.setdefault("firewall", then.get("firewall"))
        if "cputype" in now:
            now[""] = now.pop("cputype")
        return now == then
    return now.strip() == then


def look(api, config):  # noqa: C901
    """The machine as it is now, and the differences that would be changed."""
    one = config["resource"]["proxmox_virtual_environment_vm"]["machine"]
    kept = state().get("vm")
    number = kept or ("import" in config and one["vm_id"])
    rows = {r["vmid"]: r for r in api.call("get", "cluster/resources", type="vm")}
    if not number or number not in rows:
        return one, None, {}
    row = rows[number]
    path = f"nodes/{row['node']}/qemu/{number}"
    now = {k: str(v) for k, v in api.call("get", f"{path}/config").items()}
    status = api.call("get", f"{path}/status/current")["status"]
    then = wanted(one)
    differing = {k: (now.get(k), v) for k, v in then.items() if not same(k, now.get(k, ""), v)}
    disks = {d["interface"]: d for d in one["disk"]}
    for slot in [k for k in now if k[:6] == "virtio" and k[6:].isdigit()]:
        if slot not in disks:
            differing[slot] = (now[slot], None)
    for slot, disk in disks.items():
        if slot not in now:
            differing[slot] = (None, value(disk))
        elif words(now[slot]).get("serial") != disk["serial"]:
            first = now[slot].split(",")[0]
            differing[slot] = (now[slot], f"{first},serial={disk['serial']},discard=on")
    if "startup" in now and "startup" not in then:
        differing["startup"] = (now["startup"], None)
    if row.get("pool") != one["pool_id"]:
        differing["pool"] = (row.get("pool"), one["pool_id"])
    if (status == "running") != one["started"]:
        differing["started"] = (status == "running", one["started"])
    if row["node"] != one["node_name"]:
        differing["node_name"] = (row["node"], one["node_name"])
    return one, {"path": path, "node": row["node"], "vm_id": number}, differing


def value(disk):
    tail = f"serial={disk['serial']},discard=on"
    if "path_in_datastore" in disk:
        return f"{disk['datastore_id']}:{disk['path_in_datastore']},{tail}"
    return f"{disk['datastore_id']}:{disk['size']},{tail}"


def plan(arguments):
    config = json.loads((Here.folder / CONFIG).read_text())
    api = Api(config["provider"]["proxmox"]["endpoint"])
    _, found, differing = look(api, config)
    destroy, tainted = "-destroy" in arguments, state().get("tainted")
    change = {"actions": ["no-op"], "before": found, "after": found, "differing": differing}
    if destroy:
        change["actions"] = ["delete"] if found and state().get("vm") else ["no-op"]
    elif found is None:
        change["actions"] = ["create"]
    elif tainted or "node_name" in differing:
        change |= {"actions": ["delete", "create"], "replace_paths": [["node_name"]]}
    elif differing:
        before = {**found, **{k: b for k, (b, _) in differing.items()}}
        after = {**found, **{k: a for k, (_, a) in differing.items()}}
        change |= {"actions": ["update"], "before": before, "after": after}
    elif not state().get("vm"):
        change["importing"] = {"id": str(found["vm_id"])}
    out = next(a for a in arguments if a.startswith("-out=")).removeprefix("-out=")
    (Here.folder / out).write_text(json.dumps({"config": config, "change": change}))
    return 0 if change["actions"] == ["no-op"] and "importing" not in change else 2


def show(arguments):
    kept = json.loads((Here.folder / arguments[-1]).read_text())
    Here.write(json.dumps({"resource_changes": [{"name": "machine", "change": kept["change"]}]}))
    return 0


def apply(arguments):
    kept = json.loads((Here.folder / arguments[-1]).read_text())
    config, change = kept["config"], kept["change"]
    api = Api(config["provider"]["proxmox"]["endpoint"])
    one = config["resource"]["proxmox_virtual_environment_vm"]["machine"]
    actions = change["actions"]
    said({"type": "apply_start", "hook": {"action": actions[-1]}})
    if "delete" in actions:
        remove(api, change["before"])
    if "create" in actions:
        create(api, one)
    if actions in (["update"], ["no-op"]):
        keep({"vm": change["before"]["vm_id"]})
        update(api, one, change)
    return 0


def remove(api, found):
    path = found["path"]
    if api.call("get", f"{path}/status/current")["status"] != "stopped":
        api.task(api.call("post", f"{path}/status/stop"), "VM stop")
    words = {"purge": 1, "destroy-unreferenced-disks": 1}
    api.task(api.call("delete", path, **words), "VM delete")
    keep({})


def create(api, one):
    number, clone = one["vm_id"], one["clone"]
    body = {
        "newid": number,
        "name": one["name"],
        "full": 1,
        "description": one["description"],
        "storage": clone["datastore_id"],
        **({"pool": one["pool_id"]} if one["pool_id"] else {}),
    }
    source = f"nodes/{one['node_name']}/qemu/{clone['vm_id']}/clone"
    try:
        api.task(api.call("post", source, **body), "VM clone")
    except FailedError as failed:
        # Asked again after a lost answer, the real one believes that it was its own.
        if "RemoteDisconnected" not in str(failed) and "reset" not in str(failed).lower():
            raise
        try:
            api.task(api.call("post", source, **body), "VM clone")
        except FailedError as again:
            if "already exists" not in str(again):
                raise
    keep({"vm": number, "tainted": True})
    path = f"nodes/{one['node_name']}/qemu/{number}"
    while "lock" in api.call("get", f"{path}/status/current"):
        time.sleep(0.05)
    now = api.call("get", f"{path}/config")
    api.call("put", f"{path}/config", **wanted(one))
    for disk in one["disk"]:
        slot = disk["interface"]
        if slot in now:
            first = str(now[slot]).split(",")[0]
            options = f"{first},serial={disk['serial']},discard=on"
            api.call("put", f"{path}/config", **{slot: options})
            if words(str(now[slot])).get("size") != f"{disk['size']}G":
                upid = api.call("put", f"{path}/resize", disk=slot, size=f"{disk['size']}G")
                api.task(upid, "Disk resize")
        else:
            api.call("put", f"{path}/config", **{slot: value(disk)})
    if one["started"]:
        api.task(api.call("post", f"{path}/status/start"), "VM start")
    keep({"vm": number})


def update(api, one, change):
    path, differing = change["before"]["path"], dict(change["differing"])
    started, pool = differing.pop("started", None), differing.pop("pool", None)
    if pool:
        moved = {"vms": one["vm_id"]}
        if pool[0]:
            api.call("put", "pools", poolid=pool[0], delete=1, **moved)
        if pool[1]:
            api.call("put", "pools", poolid=pool[1], **moved)
    changed = {k: a for k, (_, a) in differing.items() if a is not None}
    gone = [k for k, (_, a) in differing.items() if a is None]
    if changed or gone:
        api.call("put", f"{path}/config", **changed, **({"delete": ",".join(gone)} if gone else {}))
    if started:
        verb = "start" if started[1] else "shutdown"
        api.task(api.call("post", f"{path}/status/{verb}"), f"VM {verb}")


def said(what):
    Here.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(arguments):
    verb, *rest = arguments
    if verb == "version":
        Here.write('{"terraform_version": "1.10.0"}')
        return 0
    if verb == "init":
        return 0
    try:
        return {"plan": plan, "show": show, "apply": apply}[verb](rest)
    except FailedError as failed:
        said(
            {
                "type": "diagnostic",
                "diagnostic": {"severity": "error", "summary": verb, "detail": str(failed)},
            }
        )
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
