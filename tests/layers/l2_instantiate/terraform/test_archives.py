"""A boot disk into an archive of the node's: made once, whatever goes wrong on the way."""

import contextlib
import re
import threading

import pytest

from lab.abilities import Archiving
from lab.errors import DriverError, Interrupted, LabError, PlanError
from lab.model.secret import NoSecrets, Secret
from layers.l2_instantiate.drivers.terraform import TerraformDriver, archiving, notes
from layers.l2_instantiate.drivers.terraform.place import Place
from tests.standins.proxmox import How
from tests.standins.proxmox.resources.backup import KilledError
from tests.standins.proxmox.tasks import TaskError

POST = {"method": "POST", "path": "*/vzdump"}


class Known(NoSecrets):
    def __init__(self, value):
        self.value = value

    def reveal(self, name):
        return self.value


class Killed(BaseException):
    """As if the process had ended there."""


@pytest.fixture
def host(quiet_pve, monkeypatch):
    """A host whose machine runs, with a disk on its shelf; its API is quick."""
    monkeypatch.setattr("lab.clients.proxmox.tasks._QUICK", 0.002)
    monkeypatch.setattr(archiving, "_PAUSE", 0.01)
    quiet_pve.provider["backup_storage"] = "local"
    quiet_pve.converge()
    quiet_pve.standin.faults.clear()
    return quiet_pve


def archive(host, name="id1", known=(), *, live=False):
    with host.driver.archive(host.target(), name, frozenset(known), live=live) as made:
        return made


def there(host):
    return [v for v in host.standin.world.volumes if v.content == "backup"]


def as_before(host):
    """The machine runs, nothing of it is left out of backups, nothing is on its way."""
    guest = host.guest
    assert guest.running
    assert "lock" not in guest.config
    assert "backup=0" not in guest.config["virtio1"]
    record = record_of(host)
    assert (record.archive, record.left_out) == (None, ())


def record_of(host):
    return Place(host.workspace, host.name).read()


def kill_at(monkeypatch, name):
    def point(here):
        if here == name:
            raise Killed

    for module in (archiving, archiving.leaving_out, archiving.power):
        monkeypatch.setattr(module, "point", point)
    monkeypatch.setattr("layers.l2_instantiate.drivers.terraform.vault.point", point)


def test_the_driver_says_that_it_can():
    assert isinstance(TerraformDriver(None), Archiving)


def test_only_the_boot_disk_is_in_it_and_the_machine_runs_as_before(host):
    before = host.guest.config["virtio1"]
    made = archive(host)
    (volume,) = there(host)
    assert (made.archive.volume, made.archive.size) == (volume.volid, volume.size)
    assert (made.quiesced, made.how, made.trouble) == (True, "shut down in order", None)
    assert volume.protected
    note = notes.read(volume.notes)
    assert (note.lab, note.host, note.id) == (host.workspace.lab, "web1", "id1")
    assert {"archiving the boot disk"} <= set(host.said)
    log = next(t.log for t in host.standin.world.tasks.all() if t.kind == "vzdump")
    assert [line for line in log if "exclude disk 'virtio1'" in line]
    assert len([line for line in log if "include disk" in line]) == 1
    assert host.guest.config["virtio1"] == before
    as_before(host)
    assert not host.plan()
    (call,) = [c for c in host.standin.faults.calls if c.path.endswith("/vzdump")]
    assert call.parameters["mode"] == "stop"
    assert call.parameters["remove"] == "0", "what others keep there is theirs to drop"


def test_what_somebody_left_out_of_backups_stays_left_out(host):
    host.standin.edit(host.guest.vmid, virtio1=host.guest.config["virtio1"] + ",backup=0")
    archive(host)
    assert "backup=0" in host.guest.config["virtio1"]


def test_a_running_machine_is_told_as_after_a_power_cut_unless_its_agent_froze_it(host):
    guest = host.guest
    since = guest.started
    made = archive(host, live=True)
    assert (made.quiesced, made.how) == (
        True,
        "running, its filesystems frozen by its guest agent",
    )
    for name, how in (("id2", {"freezes_badly": True}), ("id3", {"agent": False})):
        for key, value in how.items():
            setattr(guest, key, value)
        made = archive(host, name, live=True)
        assert (made.quiesced, made.how) == (False, "running: as after a power cut")
    assert guest.started == since, "it was not to be restarted"


def test_one_that_is_off_stays_off(host):
    host.standin.world.guests[host.guest.vmid].running = False
    host.standin.world.guests[host.guest.vmid].qmp = "stopped"
    made = archive(host, live=True)
    assert (made.quiesced, made.how) == (True, "off, as it was left")
    assert not host.guest.running


def test_from_another_machine_than_made_it_it_is_captured_and_stays_whole(host):
    """Its record lies elsewhere: nothing that is noted here makes it look half made."""
    place = Place(host.workspace, host.name)
    place.record.unlink()
    before = [c for c in host.plan().changes if "machine" in c.what]
    host.again()
    archive(host)
    after = [c for c in host.plan().changes if "machine" in c.what]
    assert [c.action for c in after] == [c.action for c in before]
    assert record_of(host).vmid == 0
    assert len(there(host)) == 1


def test_a_machine_that_was_moved_is_captured_where_it_is(host):
    host.standin.add_node("pve2")
    host.standin.move_guest(host.guest.vmid, "pve2")
    host.again()
    made = archive(host).archive
    assert made.node == "pve2"
    assert host.driver.inspect(host.target(), made).problem == ""


def test_two_in_a_row_are_two(host):
    first, second = archive(host).archive, archive(host, "id2", ["id1"]).archive
    assert (first.id, second.id, first.volume != second.volume) == ("id1", "id2", True)
    assert [notes.read(v.notes).id for v in there(host)] == ["id1", "id2"]


def settled(host, name, known, **how):
    """The same again, until it is through: a person would do no more."""
    host.standin.settle()
    for last in (False, False, True):
        host.again()
        try:
            return archive(host, name, known, **how)
        except LabError:
            if last:
                raise
    raise AssertionError


@pytest.mark.parametrize("how", [How.ANSWER, How.RESET, How.DROP_REPLY])
@pytest.mark.parametrize("live", [False, True])
def test_whatever_call_fails_the_machine_runs_on_and_the_next_try_ends_it(host, live, how):
    archive(host, "id0", live=live)
    host.standin.faults.forget()
    host.again()
    archive(host, "id1", ["id0"], live=live)
    count, known, met = len(host.standin.faults.calls), ["id0", "id1"], 0
    for at in range(1, count + 1):
        host.again()
        host.standin.faults.forget()
        host.standin.fail(at=at, status=500, how=how, reason="something else went wrong")
        name = f"id{at + 1}"
        trouble = True
        with contextlib.suppress(LabError):
            made = archive(host, name, known, live=live)
            trouble = made.trouble is not None
            known.append(made.archive.id)
        met += len(host.standin.faults.happened)
        host.standin.faults.clear()
        if trouble:
            known.append(settled(host, f"{name}-again", known, live=live).archive.id)
        as_before(host)
        assert [notes.read(v.notes).id for v in there(host)] == known
    assert met > count - 3


def test_an_answer_that_is_lost_makes_no_twin(host):
    host.standin.fail(how=How.DROP_REPLY, **POST)
    archive(host)
    assert len(there(host)) == 1
    as_before(host)


def test_an_answer_that_is_lost_before_anything_was_done_is_asked_for_again(host):
    host.standin.fail(how=How.RESET, **POST)
    archive(host)
    assert len(there(host)) == 1


def test_a_task_that_the_node_forgot_is_known_by_its_archive(host):
    host.standin.fail_task("vzdump", "vanish")
    archive(host)
    assert len(there(host)) == 1
    as_before(host)


@pytest.mark.parametrize(
    "place",
    [
        "l2.archive.leaving_out",
        "l2.archive.claimed",
        "l2.archive.begun",
        "l2.archive.made",
    ],
)
def test_a_run_that_was_killed_is_gone_on_with(host, monkeypatch, place):
    with monkeypatch.context() as patch:
        kill_at(patch, place)
        with pytest.raises(Killed):
            archive(host)
    host.again()
    made = archive(host, "id2")
    ids = [notes.read(v.notes).id for v in there(host)]
    assert ids == [made.archive.id], "another one was made, or one was left"
    assert made.archive.id == ("id1" if place in {"l2.archive.begun", "l2.archive.made"} else "id2")
    as_before(host)


def test_one_that_is_a_capture_already_is_not_taken_for_the_next(host, monkeypatch):
    with pytest.raises(Killed), host.driver.archive(host.target(), "id1", frozenset(), live=False):
        raise Killed
    made = archive(host, "id2", ["id1"])
    assert made.archive.id == "id2"
    assert len(there(host)) == 2


def test_one_that_is_too_old_to_be_what_was_asked_for_is_made_anew(host, monkeypatch):
    with pytest.raises(Killed), host.driver.archive(host.target(), "id1", frozenset(), live=False):
        raise Killed
    monkeypatch.setattr(archiving, "_RECENT", 0.0)
    assert archive(host, "id2").archive.id == "id2"
    assert [notes.read(v.notes).id for v in there(host)] == ["id2"]


def test_one_of_another_kind_is_not_what_was_asked_for(host):
    with pytest.raises(Killed), host.driver.archive(host.target(), "id1", frozenset(), live=True):
        raise Killed
    assert archive(host, "id2").how == "shut down in order"
    assert [notes.read(v.notes).id for v in there(host)] == ["id2"]


def test_a_run_that_was_killed_leaves_nothing_out_of_backups_for_good(host, monkeypatch):
    """Also where nobody captures again: the next change puts it right."""
    with monkeypatch.context() as patch:
        kill_at(patch, "l2.archive.claimed")
        with pytest.raises(Killed):
            archive(host)
    assert "backup=0" in host.guest.config["virtio1"]
    Place(host.workspace, host.name).note(archive=None)
    host.again()
    host.machine["memory"] = "2GiB"
    host.converge()
    assert "backup=0" not in host.guest.config["virtio1"]


def test_a_worker_that_died_with_its_node_leaves_a_machine_off_and_the_way_out_is_told(host):
    def die(_):
        host.guest.running = False
        raise KilledError

    host.standin.world.in_backup = die
    with pytest.raises(LabError):
        archive(host)
    host.standin.world.in_backup = None
    assert (host.guest.running, host.guest.config["lock"]) == (False, "backup")
    host.again()
    with pytest.raises(LabError) as told:
        archive(host)
    assert f"qm unlock {host.guest.vmid}" in told.value.hint
    host.standin.lock(host.guest.vmid, None)
    host.again()
    archive(host, "id3")
    as_before(host)


def test_a_task_that_fails_is_told_in_its_own_words_and_leaves_nothing(host):
    def full(_):
        raise TaskError("vma_queue_write: write error - No space left on device")

    host.standin.world.in_backup = full
    with pytest.raises(DriverError) as told:
        archive(host)
    assert "No space left on device" in told.value.message
    host.standin.world.in_backup = None
    as_before(host)
    assert there(host) == []


def test_a_guest_that_does_not_shut_down_runs_on_and_the_other_way_is_told(host):
    host.guest.listens = False
    host.standin.world.patience = 0.0
    with pytest.raises(DriverError, match="did not shut down within 3 minutes") as told:
        archive(host)
    assert "--live" in told.value.hint
    as_before(host)


def test_the_wish_to_stop_ends_the_task_and_the_machine_runs(host):
    host.standin.world.backup_seconds = 30
    threading.Timer(0.5, host.workspace.cancelled.set).start()
    with pytest.raises(Interrupted):
        archive(host)
    host.workspace.cancelled.clear()
    host.standin.settle()
    host.again()
    as_before(host)
    assert there(host) == []


def test_no_storage_no_content_and_no_privilege_are_told_with_what_mends_them(host):
    host.provider["backup_storage"] = None
    with pytest.raises(PlanError) as told:
        archive(host)
    assert "backup_storage: local" in told.value.hint
    host.provider["backup_storage"] = "nowhere"
    with pytest.raises(DriverError, match="nowhere is not there"):
        archive(host)
    host.provider["backup_storage"] = "local-lvm"
    with pytest.raises(DriverError, match="takes no backups") as told:
        archive(host)
    assert "pvesm set local-lvm --content backup,images,rootdir" in told.value.hint
    as_before(host)


def test_a_token_without_the_privilege_is_told_and_nothing_is_left(host):
    every = host.standin.world.access.roles["Administrator"]
    text = " ".join(every - {"VM.Backup"})
    token = host.standin.add_token("lab@pve", "lab", privileges=text)
    host.provider["token"] = Secret("pve", Known(token))
    host.again()
    with pytest.raises(DriverError, match=r"VM\.Backup") as told:
        archive(host)
    assert "lab doctor" in told.value.hint
    as_before(host)


def test_a_container_is_refused(host, monkeypatch):
    host.machine = {
        "kind": "lxc",
        "template": "local:vztmpl/debian.tar.zst",
        "cpu": 1,
        "memory": "512MiB",
        "disks": {"root": {"size": "4GiB"}},
    }
    with pytest.raises(PlanError, match="it is a container"):
        archive(host)


def test_what_becomes_of_an_archive_is_told(host):
    made = archive(host).archive
    look = lambda: host.driver.inspect(host.target(), made)  # noqa: E731
    assert (look().problem, look().read) == ("", None)
    assert "nobody has read it" in look().told
    (volume,) = there(host)
    upid = "UPID:pbs:00000400:0000F2A0:00000001:6929A5C0:verify:local-101:root@pam:"
    volume.verification = {"state": "ok", "upid": upid}
    assert look().read == float(0x6929A5C0)
    volume.verification = {"state": "failed", "upid": upid}
    assert "found it failed" in look().problem
    volume.verification, size = None, volume.file_size
    volume.file_size = size - 1
    assert "and had" in look().problem
    volume.file_size, volume.notes = size, "mine now"
    assert "no longer carries the note" in look().problem
    host.standin.world.volumes.drop(volume)
    assert "is not there any more" in look().problem
    with pytest.raises(DriverError, match="it lies at https://other"):
        host.driver.inspect(
            host.target(), type(made)(**{**_fields(made), "place": "https://other"})
        )


def _fields(made):
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def test_only_what_is_retired_and_no_capture_is_removed(host):
    first, second = archive(host).archive, archive(host, "id2", ["id1"]).archive
    other = host.standin.world.volumes.need(second.volume, "pve1")
    stranger = host.standin.add_file("local:backup/vzdump-qemu-5000-2020_01_01-00_00_00.vma", b"x")
    stranger.owner, stranger.notes = 5000, "a backup of somebody's"
    for number, whose in enumerate((("other", "web1"), (host.workspace.lab, "web2"))):
        name = f"local:backup/vzdump-qemu-{5001 + number}-2020_01_01-00_00_00.vma"
        one = host.standin.add_file(name, b"x")
        one.owner, one.notes = 5001 + number, notes.Note(*whose, "id1", retired=True).text
    others = {v.volid for v in there(host)} - {first.volume, second.volume}
    assert len(others) == 3
    target = host.target()
    assert host.driver.sweep(target, frozenset()) == (), "none is retired"
    host.driver.retire(target, [first, second])
    assert host.driver.sweep(target, frozenset({"id2"})) == (first.volume,)
    assert host.driver.sweep(target, frozenset({"id2"})) == ()
    assert {v.volid for v in there(host)} == {other.volid, *others}
    assert host.driver.sweep(target, frozenset()) == (second.volume,)
    host.driver.retire(target, [first])
    assert {v.volid for v in there(host)} == others


def retired(host, made):
    host.driver.retire(host.target(), [made])
    host.driver.sweep(host.target(), frozenset())


@pytest.mark.parametrize("place", ["l2.archive.retired", "l2.archive.unprotected"])
def test_removing_that_was_cut_off_is_ended_by_the_next(host, monkeypatch, place):
    made = archive(host).archive
    with monkeypatch.context() as patch:
        kill_at(patch, place)
        with pytest.raises(Killed):
            retired(host, made)
    host.again()
    host.driver.sweep(host.target(), frozenset())
    assert there(host) == []


def test_a_machine_that_does_not_let_go_of_a_disk_is_not_captured(host):
    host.standin.edit(host.guest.vmid, hotplug="network,usb")
    with pytest.raises(DriverError, match="does not let go of virtio1") as told:
        archive(host)
    assert "--hotplug" in told.value.hint
    assert there(host) == []


def test_the_note_is_one_that_vzdump_takes_word_for_word():
    note = notes.Note("house", "web1", "0" * 32)
    assert notes.read(note.text) == note
    assert notes.read(note.retire().text) == note.retire()
    assert not re.search(r"\{\{|\\|\n", note.text)
    assert len(note.text) < 1024
    for text in ("", "strata: {}", 'strata: {"lab": 1', "Strata"):
        assert notes.read(text) is None
