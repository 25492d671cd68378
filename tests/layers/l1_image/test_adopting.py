"""A template out of an archive, against the stand-in: cleaned once, whatever goes wrong."""

import contextlib
import re
import subprocess
import threading
import time

import pytest

from lab.abilities import AdmittingArchives
from lab.errors import DeadlineExceeded, DriverError, LabError
from lab.layer import silent
from lab.model.template import Archive, ArchivedCandidate
from layers.l1_image import cleaning, planner
from layers.l1_image.drivers.proxmox_template import adopting, restored
from layers.l1_image.drivers.proxmox_template.driver import ProxmoxTemplateDriver
from layers.l1_image.identity import IDENTITY
from tests.layers.l1_image.test_proxmox_template import Bench
from tests.standins.proxmox import GIB, How, ProxmoxStandIn

NAME = "web-0123456789ab"


class Killed(BaseException):
    """As if the process had ended there."""


class Guests:
    """VMs that do what they are started for, and end by themselves."""

    def __init__(self):
        self.started, self.clean = [], True
        self.pve = None

    def start(self, guest, config, files):
        self.started.append(dict(config))
        if self.clean:
            threading.Timer(0.02, self.pve.power_off, (guest.vmid,)).start()

    def stop(self, guest, token):
        pass


@pytest.fixture
def guests():
    return Guests()


@pytest.fixture
def pve(guests):
    with ProxmoxStandIn(task_seconds=0.001, on_start=guests.start, on_stop=guests.stop) as made:
        guests.pve = made
        yield made


@pytest.fixture
def bench(pve, workspace, monkeypatch):
    monkeypatch.setattr(adopting, "_SETTLE", 0.01)
    monkeypatch.setattr(adopting, "_TICK", 0.01)
    monkeypatch.setattr("lab.clients.proxmox.api._WAITS", (0.001, 0.001, 0.001))
    monkeypatch.setattr("lab.clients.proxmox.tasks._QUICK", 0.002)
    workspace.runtime.mkdir(parents=True, exist_ok=True)
    made = Bench(pve, workspace, [])
    yield made
    made.workspace.close()


@pytest.fixture
def candidate(pve):
    """Of a machine with all that a machine can have."""
    pve.add_storage("vault", content={"backup"})
    pve.add_file("local:iso/strata-t.web1-0123456789ab.iso", b"its host key")
    pve.add_disk("local-lvm:vm-900-disk-0", owner=900, size=GIB)
    pve.add_vm(
        5001, "web1", storage="local-lvm", onboot="1", protection="1", tags="strata;strata-web1"
    )
    pve.edit(
        5001,
        ide2="local:iso/strata-t.web1-0123456789ab.iso,media=cdrom",
        virtio1="local-lvm:vm-900-disk-0,serial=data,backup=0",
        boot="order=scsi0;net0",
        startup="order=3",
        usb0="spice",
        description='strata: {"host": "web1", "lab": "t", "part": "machine"}',
    )
    guest = pve.guest(5001)
    from tests.standins.proxmox import archives
    from tests.standins.proxmox.storages import Volume

    volume = Volume("vault", "backup/vzdump-qemu-5001-x.vma.zst", "backup", 0, "vma", "pve1", 5001)
    volume.file = pve.world.volumes.file_for(pve.world.storages["vault"], "pve1", "backup", "a")
    archives.write(pve.world, volume, guest, ["scsi0"])
    pve.world.volumes.put(volume)
    return ArchivedCandidate(
        name=NAME,
        captured="web1@1a2b3c4d",
        checksum=f"sha256:{'0' * 64}",
        remove=("/var/lib/strata/*",),
        archive=Archive("id1", 0.0, pve.url, "pve1", "vault", volume.volid, volume.size),
    )


def admit(bench, candidate, report=silent):
    bench.again().admit_archive(bench.target(), candidate, report)


def whole(bench, guests):
    """One template, and nothing else that was not there."""
    world = bench.pve.world
    assert set(world.guests) - set(bench.templates) == {5001}
    ((vmid, guest),) = bench.templates.items()
    assert [v.volid for v in world.volumes if "strata-clean" in v.volid] == []
    assert len([v for v in world.volumes if v.owner == vmid]) == 1
    assert 'ready": true' in guest.config["description"]
    assert bench.pve.guest(5001).config["name"] == "web1"
    for config in guests.started:
        assert not [k for k in config if re.match("net|usb|virtio|unused", k)], config
        assert config["name"] == NAME, "it is taken for the lab's machine"
    return vmid, guest


def test_a_template_is_made_of_it_once_and_says_of_what(bench, candidate, guests):
    assert isinstance(ProxmoxTemplateDriver(bench.workspace), AdmittingArchives)
    said = []
    admit(bench, candidate, lambda doing, *_: said.append(doing))
    vmid, guest = whole(bench, guests)
    assert vmid in range(9000, 10000)
    config = guest.config
    assert set(config["tags"].split(";")) == {"strata", "strata_template"}
    assert "base-" in config["scsi0"]
    assert "discard=on" in config["scsi0"]
    assert (config["onboot"], config["protection"]) == ("0", "0")
    assert not {"startup", "ide0", "ide2", "net0", "virtio1"} & set(config)
    assert '"captured": "web1@1a2b3c4d"' in config["description"]
    assert [s for s in said if "runs without a network and cleans its disk" in s]
    (started,) = guests.started
    assert started["boot"] == "order=scsi0"
    calls = len(bench.pve.faults.calls)
    admit(bench, candidate)
    assert whole(bench, guests)[0] == vmid
    assert not [c for c in bench.pve.faults.calls[calls:] if c.method != "GET"]


def test_it_is_what_the_plan_finds_once_it_is_promoted(bench, candidate):
    target = bench.target({"base": "debian-13", "template": NAME})
    assert bench.plan(bench.again(), target).blockers
    admit(bench, candidate)
    driver = bench.again()
    assert not bench.plan(driver, target)
    (told,) = driver.templates()
    assert (told.name, told.captured, told.damaged) == (NAME, "web1@1a2b3c4d", "")


def test_it_is_removed_only_when_that_is_asked_for(bench, candidate):
    admit(bench, candidate)
    target = bench.target()
    driver = bench.again()
    driver.observe(target)
    assert driver.unused(frozenset()) == ()
    assert (
        driver.spare(
            frozenset({planner.key(bench.target({"base": "debian-13", "template": NAME}).spec)})
        )
        == ()
    )
    (change,) = driver.spare(frozenset())
    assert change.reason == "no host uses it; made of the capture web1@1a2b3c4d"
    driver.prune(change)
    assert bench.templates == {}


PLACES = ("restoring", "restored", "seeded", "prepared", "started", "cleaned", "converted")


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_was_killed_is_gone_on_with(bench, candidate, guests, monkeypatch, place):
    def point(here):
        if here == f"l1.adopt.{place}":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(adopting, "point", point)
        with pytest.raises(Killed):
            admit(bench, candidate)
    bench.pve.settle()
    admit(bench, candidate)
    whole(bench, guests)
    again = place in {"restoring", "restored", "seeded", "prepared"}
    assert len(guests.started) == 1, "it was cleaned twice" if not again else "not once"


@pytest.mark.parametrize("how", [How.ANSWER, How.RESET, How.DROP_REPLY])
def test_whatever_change_fails_the_next_try_ends_it(bench, candidate, guests, how):
    admit(bench, candidate)
    calls = [call.method for call in bench.pve.faults.calls]
    changes = [at for at, method in enumerate(calls, 1) if method != "GET"]
    assert len(changes) > 8
    for at in changes:
        for vmid in list(bench.templates):
            bench.pve.world.remove_guest(bench.pve.guest(vmid), purge=True)
            for volume in [v for v in bench.pve.world.volumes if v.owner == vmid]:
                bench.pve.world.volumes.drop(volume)
        bench.pve.faults.forget()
        bench.pve.fail(at=at, how=how, status=500, reason="something else went wrong")
        for last in (False, False, True):
            bench.pve.settle()
            try:
                admit(bench, candidate)
            except LabError:
                if last:
                    raise
                continue
            break
        bench.pve.faults.clear()
        whole(bench, guests)


def test_one_that_somebody_ended_is_not_believed(bench, candidate, guests):
    guests.clean = False
    threading.Thread(target=stop_by_hand, args=(bench.pve,), daemon=True).start()
    with pytest.raises(DriverError, match="somebody else ended VM") as told:
        admit(bench, candidate)
    assert "begins anew" in told.value.hint
    guests.clean = True
    admit(bench, candidate)
    whole(bench, guests)
    assert len(guests.started) == 2


def stop_by_hand(pve):
    """As the GUI does it."""
    import requests

    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        for vmid, guest in list(pve.world.guests.items()):
            if vmid >= 9000 and guest.running:
                requests.post(
                    f"{pve.url}/api2/json/nodes/pve1/qemu/{vmid}/status/stop",
                    headers={"Authorization": f"PVEAPIToken={pve.token}"},
                    verify=str(pve.certificate),
                    timeout=5,
                )
                return
        time.sleep(0.01)


def test_one_whose_node_started_anew_meanwhile_is_not_believed(bench, candidate, monkeypatch):
    monkeypatch.setattr(adopting.Adopting, "_node_time", lambda self: time.time() + 1e6)
    with pytest.raises(DriverError, match="nobody knows whether that was done"):
        admit(bench, candidate)


def test_one_that_is_not_cleaned_in_time_stays_on_and_its_console_is_named(
    bench, candidate, guests, monkeypatch
):
    guests.clean = False
    monkeypatch.setattr(adopting, "_LEAST", -1e6)
    with pytest.raises(DeadlineExceeded, match="did not power itself off") as told:
        admit(bench, candidate)
    assert "console" in told.value.hint
    (vmid,) = [v for v, g in bench.pve.world.guests.items() if g.running]
    assert vmid >= 9000
    guests.clean = True
    monkeypatch.setattr(adopting, "_LEAST", 900.0)
    with contextlib.suppress(DeadlineExceeded):
        bench.pve.power_off(vmid)
    admit(bench, candidate)
    whole(bench, guests)


def test_an_archive_that_is_gone_leaves_nothing_and_says_what_to_do(bench, candidate, pve):
    pve.world.volumes.drop(pve.world.volumes.need(candidate.archive.volume, "pve1"))
    with pytest.raises(DriverError, match="does not exist") as told:
        admit(bench, candidate)
    assert told.value.hint.startswith("lab capture host=web1 --disk")
    assert set(pve.world.guests) == {5001}


def test_no_vmid_that_is_free_is_told(bench, candidate, pve):
    target = bench.target(vmids={"templates": "5001-5001", "machines": "6000-7999"})
    with pytest.raises(DriverError, match="none of the VMIDs 5001-5001 is free"):
        bench.again().admit_archive(target, candidate, silent)


def test_a_restore_that_failed_on_the_way_is_taken_away(bench, candidate, pve, guests):
    before = pve.world.storages.pop("local-lvm")
    with pytest.raises(DriverError):
        admit(bench, candidate)
    pve.world.storages["local-lvm"] = before
    admit(bench, candidate)
    whole(bench, guests)


def test_the_words_that_clean_it_hold_no_way_out_of_their_place():
    for path in ("etc/x", "/a/../b", "/a\nb", "/", "/a//b", ""):
        with pytest.raises(ValueError, match="is not an absolute path"):
            cleaning.script([path])


def test_what_the_words_remove_is_what_the_list_says(tmp_path):
    """The patterns alone, by a real shell, on a folder in the place of the root."""
    tree = tmp_path / "r"
    for name in (
        "etc/hostname", "etc/hosts", "etc/ssh/ssh_host_x_key", "etc/ssh/sshd_config",
        "home/a b/.ssh/id_x", "home/a b/.bash_history", "home/.c/.ssh/authorized_keys",
        "tmp/x/y", "tmp/.hidden", "tmp/..odd", "var/lib/cloud/data/x", "srv/it's $(touch no)/x",
        "srv/other", "root/.ssh/config",
    ):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    text = cleaning.script([*IDENTITY, "/srv/it's $(touch no)"])
    subprocess.run(["sh", "-n", "-c", text], check=True)
    begin = text.index("gone() {")
    end = text.index("swap() {")
    calls = 'every look; echo "$bad"; every gone; bad=; every look; echo "[$bad]"'
    script = f"r={tree}; bad=\n{text[begin:end]}\n{calls}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
    left = {str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()}
    assert left == {"etc/hosts", "etc/ssh/sshd_config", "srv/other", "root/.ssh/config"}
    assert not (tmp_path / "no").exists()


def test_the_table_of_filesystems_forgets_swap_files_alone(tmp_path):
    """By a real shell: a new machine has none of them, and would start with a failed unit."""
    table = tmp_path / "etc/fstab"
    table.parent.mkdir()
    stays = (
        "# swap\nLABEL=root / ext4 defaults 0 1\n/dev/sdb2 none swap sw 0 0\n/srv/x /y none bind\n"
    )
    table.write_text(f"/swap none swap sw 0 0\n{stays}/a/swapfile none swap sw,nofail 0 0\n")
    text = cleaning.script([])
    names = next(line for line in text.splitlines() if line.startswith("swap() {"))
    begin = text.index('if [ -n "$(swap)" ]')
    change = text[begin : text.index("\nfi\n", begin) + 4]
    script = f"r={tmp_path}; stay() {{ exit 9; }}\n{names}\nswap\n{change}\nswap\n{change}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["/swap", "/a/swapfile"]
    assert table.read_text() == stays
    assert table.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in table.parent.iterdir()] == ["fstab"]


def test_what_of_a_restored_machine_has_to_go():
    config = {
        "boot": "order=virtio0;net0",
        "virtio0": "s:vm-9000-disk-0,size=4G",
        "scsi1": "s:vm-900-disk-0,size=1G",
        "efidisk0": "s:vm-9000-disk-1",
        "tpmstate0": "s:vm-5001-disk-2",
        "ide2": "local:iso/x.iso,media=cdrom",
        "net0": "virtio=BC:24:11:00:00:00,bridge=vmbr0",
        "hostpci0": "mapping=gpu",
        "ipconfig0": "ip=dhcp",
        "name": "x",
    }
    assert restored.root(config) == "virtio0"
    assert restored.size(config) == 4 * GIB
    going = restored.foreign(config, 9000)
    assert going == ["hostpci0", "ide2", "ipconfig0", "net0", "scsi1", "tpmstate0"]
    assert restored.free_cd(config, going) == "ide0"
    assert restored.discarding("s:vm-9000-disk-0,backup=0,discard=ignore,size=4G") == (
        "s:vm-9000-disk-0,size=4G,discard=on"
    )
