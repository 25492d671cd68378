"""The stand-in as a test holds it: started, seeded, told to fail, asked what came."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

from . import certificate, resources, schema
from .dispatch import Dispatcher
from .faults import Fault, Faults
from .storages import Storage, Volume
from .tasks import Wish
from .wire import Server
from .world import GIB, Guest, Node, Starter, Stopper, World

__all__ = ["ProxmoxStandIn"]
_ = resources  # importing the package registers its answers

_EVERYTHING = {"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import"}


class ProxmoxStandIn:
    """A Proxmox VE API on a port of this machine, from `with` to the end of the block.

    A new one has the node `pve1` with the bridge `vmbr0`, the storages `local` (files of every
    content) and `local-lvm` (disks), root with the password `standin`, and root's token.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        node: str = "pve1",
        task_seconds: float = 0.02,
        patience: float = 1.0,
        real_disks: bool = False,
        on_start: Starter | None = None,
        on_stop: Stopper | None = None,
        folder: Path | None = None,
    ) -> None:
        self._folder = folder
        self._own_folder: str | None = None
        self._port = port
        self._server: Server | None = None
        if folder is None:
            self._own_folder = tempfile.mkdtemp(prefix="strata-pve-")
        self.folder = folder or Path(str(self._own_folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.faults = Faults()
        self.world = World(self.folder, task_seconds=task_seconds, patience=patience)
        self.world.real_disks = real_disks
        self.world.on_start = on_start
        self.world.on_stop = on_stop
        self.world.add_node(node)
        self.world.add_storage("local", content=set(_EVERYTHING))
        self.world.add_storage("local-lvm", "lvmthin", content={"images", "rootdir"})
        self.node = node
        self.user = "root@pam"
        self.password = "standin"
        self.world.access.add_user(self.user, self.password)
        self.token = self.world.access.add_token(self.user, "standin", separated=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen."""
        context, fingerprint, file = certificate.make(self.folder, self.node)
        self.fingerprint, self.certificate = fingerprint, file
        self.world.fingerprint = fingerprint
        dispatcher = Dispatcher(schema.load(), self.world, self.faults)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        self._server = Server(("127.0.0.1", self._port), context, dispatcher, scratch)
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="proxmox-standin", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening, interrupt tasks, stop real machines, take the folder away."""
        if self._server:
            self._server.shutdown()
            self._server.close_connections()
            self._server.server_close()
            self._server = None
        self.world.tasks.close()
        if self.world.on_stop:
            for guest in self.world.guests.values():
                if guest.running and guest.token is not None:
                    self.world.on_stop(guest, guest.token)
        if self._own_folder:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the stand-in does not listen: use it in a with block")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """As `lab.yaml` names it."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def secret(self) -> str:
        """The token's secret alone."""
        return self.token.partition("=")[2]

    # What is there.

    def add_node(self, name: str, **fields: Any) -> Node:
        """Another node of the cluster."""
        with self.world.lock:
            return self.world.add_node(name, **fields)

    def add_bridge(self, name: str, *, node: str | None = None, vlan_aware: bool = True) -> None:
        """Another bridge that is up."""
        with self.world.lock:
            self.world.add_bridge(node or self.node, name, vlan_aware=vlan_aware)

    def add_storage(self, name: str, kind: str = "dir", **fields: Any) -> Storage:
        """Another storage: `content`, `total`, `base_used`, `shared`, `nodes`."""
        with self.world.lock:
            return self.world.add_storage(name, kind, **fields)

    def add_token(
        self, user: str, name: str, *, privileges: str = "", path: str = "/", separated: bool = True
    ) -> str:
        """A user's token, and both get these privileges on a path where any are given."""
        with self.world.lock:
            access = self.world.access
            token = access.add_token(user, name, separated=separated)
            if privileges:
                role = f"role-{user.partition('@')[0]}-{name}"
                access.roles[role] = frozenset(privileges.split())
                access.grant(path, user, role)
                if separated:
                    access.grant(path, f"{user}!{name}", role)
            return token

    def add_file(self, volid: str, body: bytes | Path, *, node: str | None = None) -> Volume:
        """A file on a storage: `local:snippets/a.yaml`, `local:import/x.qcow2`."""
        from .resources.content import keep

        where = node or self.node
        name, _, rest = volid.partition(":")
        kind, _, leaf = rest.partition("/")
        with self.world.lock:
            storage = self.world.storages[name]
            place = self.world.volumes.place(storage, where)
            fmt = {"iso": "iso", "snippets": "snippet"}.get(kind, leaf.rpartition(".")[2])
            volume = Volume(name, rest, kind, 0, fmt, place)
            volume.file = self.world.volumes.file_for(storage, where, kind, leaf)
            if isinstance(body, Path):
                shutil.copyfile(body, volume.file)
            else:
                volume.file.write_bytes(body)
            keep(volume)
            return self.world.volumes.put(volume)

    def add_disk(
        self, volid: str, *, owner: int, size: int = GIB, fmt: str = "raw", node: str | None = None
    ) -> Volume:
        """A disk that no configuration names: `local-lvm:vm-900-disk-0`."""
        from . import images

        name, _, rest = volid.partition(":")
        where = node or self.node
        with self.world.lock:
            storage = self.world.storages[name]
            place = self.world.volumes.place(storage, where)
            volume = Volume(name, rest, "images", size, fmt, place, owner)
            return images.create(self.world, storage, volume)

    def add_template(
        self,
        vmid: int = 9000,
        name: str = "template",
        *,
        storage: str = "local",
        image: Path | None = None,
        size: int = 2 * GIB,
        node: str | None = None,
        **settings: str,
    ) -> Guest:
        """A template with a disk, a cloud-init drive, a network device and an agent."""
        guest = self.add_vm(
            vmid, name, storage=storage, image=image, size=size, node=node, **settings
        )
        with self.world.lock:
            key = "scsi0"
            volume = self.world.volumes.need(guest.config[key].split(",")[0], guest.node)
            before = volume.volid
            named = volume.name.replace(f"vm-{vmid}-", f"base-{vmid}-")
            self.world.volumes.rename(volume, named)
            guest.config[key] = guest.config[key].replace(before, volume.volid)
            guest.config["template"] = "1"
        return guest

    def add_vm(
        self,
        vmid: int,
        name: str,
        *,
        storage: str = "local",
        image: Path | None = None,
        size: int = 2 * GIB,
        node: str | None = None,
        **settings: str,
    ) -> Guest:
        """A VM that stands there already, stopped; `settings` as its configuration has them."""
        from . import images, sizes

        where = node or self.node
        with self.world.lock:
            world = self.world
            kind = world.storages[storage]
            fmt = "qcow2" if kind.has_files else "raw"
            place = world.volumes.place(kind, where)
            named = world.volumes.new_name(kind, where, vmid, fmt)
            volume = Volume(storage, named, "images", size, fmt, place, vmid)
            if image:
                volume.size, source_format = sizes.virtual_size(image)
                source = Volume(
                    storage, "", "import", volume.size, source_format, place, file=image
                )
                images.copy(world, kind, volume, source)
            else:
                images.create(world, kind, volume)
            drive = world.volumes.cloudinit_name(kind, vmid)
            seed = Volume(storage, drive, "images", 4 << 20, fmt, place, vmid)
            images.create(world, kind, seed)
            guest = Guest(
                vmid,
                where,
                config={
                    "agent": "enabled=1",
                    "boot": "order=scsi0",
                    "cores": "1",
                    "ide2": f"{seed.volid},media=cdrom",
                    "memory": "512",
                    "meta": f"creation-qemu=10.0.13,ctime={world.now()}",
                    "name": name,
                    "net0": f"virtio={world.new_mac()},bridge=vmbr0",
                    "ostype": "l26",
                    "scsi0": f"{volume.volid},size={sizes.show(volume.size)}",
                    "scsihw": "virtio-scsi-pci",
                    "serial0": "socket",
                    "smbios1": f"uuid={world.new_uuid()}",
                    "vga": "serial0",
                    "vmgenid": world.new_uuid(),
                    **settings,
                },
            )
            world.guests[vmid] = guest
            return guest

    # What somebody does behind our back.

    def guest(self, vmid: int) -> Guest:
        """A guest as it is now."""
        return self.world.guests[vmid]

    def edit(self, vmid: int, /, **settings: str | None) -> None:
        """An edit as the GUI makes it, live at once; `None` takes a setting away."""
        with self.world.lock:
            config = self.world.guests[vmid].config
            for key, value in settings.items():
                if value is None:
                    config.pop(key, None)
                else:
                    config[key] = value

    def lock(self, vmid: int, why: str | None) -> None:
        """A lock in the configuration (`backup`, `migrate`), or none."""
        self.edit(vmid, lock=why)

    def power_off(self, vmid: int) -> None:
        """A guest that ends by itself: no task tells of it."""
        with self.world.lock:
            guest = self.world.guests[vmid]
            guest.running, guest.qmp, guest.token = False, "stopped", None

    def move_guest(self, vmid: int, node: str) -> None:
        """A guest and its local volumes on another node, as HA or a hand moves it."""
        with self.world.lock:
            guest = self.world.guests[vmid]
            for _, volid in guest.disks():
                volume = self.world.volumes.find(volid, guest.node)
                if volume and volume.node:
                    self.world.volumes.move(volume, node)
            guest.node = node

    # What goes wrong.

    def fail(self, **fields: Any) -> Fault:
        """Let a coming call fail: see Fault's fields."""
        return self.faults.arm(**fields)

    def fail_task(
        self, kind: str = "*", what: str = "fail", text: str = "", times: int | None = 1
    ) -> Wish:
        """Let a coming task `fail` with a text, `hang` for good, or `vanish`."""
        wish = Wish(kind, what, text, times)
        with self.world.lock:
            self.world.tasks.wishes.append(wish)
        return wish

    def settle(self) -> None:
        """Wait until no task runs."""
        self.world.tasks.settle()
