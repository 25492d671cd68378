"""The client against a server with real TLS: who is believed, what is asked twice, what is said."""

import dataclasses
import threading
from urllib.parse import parse_qs

import pytest

from lab.clients.proxmox import Access, Api, Refused, Sent, Unclear
from lab.clients.proxmox.trust import certificate
from lab.errors import DriverError, Interrupted, LabError, TransportError
from lab.masking import mask
from lab.model.secret import Secret

VERSION = {"version": "9.1.5", "release": "9.1"}


def other(access, **values):
    return Api(dataclasses.replace(access, **values), threading.Event())


def test_the_pinned_certificate_is_accepted_and_no_other(node, access):
    node.on("GET", "version", VERSION)
    assert other(access).version() == "9.1.5"
    asked = len(node.asked)
    wrong = ":".join(["00"] * 32)
    with pytest.raises(DriverError, match="has the fingerprint") as raised:
        other(access, fingerprint=wrong).version()
    assert not isinstance(raised.value, TransportError)
    assert node.fingerprint in str(raised.value)
    assert "openssl x509" in raised.value.hint
    assert len(node.asked) == asked, "a request went to a node that is not trusted"


def test_an_authority_is_believed_only_for_what_it_signed(node, access, stranger):
    node.on("GET", "version", VERSION)
    assert other(access, fingerprint=None, ca=node.pem).version() == "9.1.5"
    asked = len(node.asked)
    for ca in ("", stranger):
        with pytest.raises(DriverError, match="certificate does not hold") as raised:
            other(access, fingerprint=None, ca=ca).version()
        assert "fingerprint:" in raised.value.hint
    named = node.url.replace("127.0.0.1", "localhost")
    with pytest.raises(DriverError, match="does not hold"):
        other(access, url=named, fingerprint=None, ca=node.pem).version()
    assert other(access, url=named).version() == "9.1.5", "a pinned one needs no name"
    assert len(node.asked) == asked + 1


def test_the_environment_cannot_switch_verification_off(node, access, monkeypatch, tmp_path):
    monkeypatch.setenv("CURL_CA_BUNDLE", "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    with pytest.raises(DriverError, match="does not hold"):
        other(access, fingerprint=None).version()
    node.on("GET", "version", VERSION)
    assert other(access).version() == "9.1.5"


def test_the_pinned_certificate_is_there_for_other_programs(node, access):
    assert certificate(access) == node.pem


def test_nobody_there(access):
    nobody = other(access, url="https://127.0.0.1:1")
    with pytest.raises(TransportError, match=r"Unable to .* at https://127.0.0.1:1: ") as raised:
        nobody.version()
    assert "url: of the provider" in raised.value.hint
    with pytest.raises(TransportError) as again:
        nobody.vms()
    assert again.value is raised.value, "whoever asks next need not wait again"


def test_a_token_is_sent_masked_in_every_message_and_checked_for_its_form(node, access):
    api = other(access)
    node.on("GET", "version", (401, "Authentication failed!"))
    with pytest.raises(Refused) as raised:
        api.version()
    assert raised.value.hint.startswith("pveum user token list root@pam")
    (_, _, _, headers, _) = node.asked[-1]
    assert headers["Authorization"] == f"PVEAPIToken={access.secret.reveal()}"
    assert "3f2a91c0" not in mask(f"oops {access.secret.reveal()}")

    class Vault:
        def reveal(self, name):
            return "just-a-password"

    with pytest.raises(DriverError, match="does not hold a token"):
        other(access, secret=Secret("pve", Vault())).version()


def test_reads_are_tried_again_and_changes_only_where_nothing_was_done(node, api, recorded):
    node.on("GET", "version", "drop", (596, "broken pipe"), (595, "Connection refused"), VERSION)
    assert api.version() == "9.1.5"
    locked = recorded["lockfile-timeout"]
    node.on("PUT", "nodes/pve1/qemu/101/config", locked, locked, None)
    api.put("nodes/pve1/qemu/101/config", doing="change VM 101", cores=2)
    asked = len(node.asked)
    for lost in ("drop", (599, "Too many redirections"), (500, "got no worker upid - start wo")):
        node.on("POST", "nodes/pve1/qemu", lost)
        with pytest.raises(Unclear, match="Unable to make VM 101") as raised:
            api.post("nodes/pve1/qemu", doing="make VM 101", vmid=101)
        assert "the same command again" in raised.value.hint
    assert len(node.asked) == asked + 3
    node.on("POST", "nodes/pve1/qemu", recorded["pvedaemon-down-post"])
    with pytest.raises(TransportError, match="daemon does not run") as raised:
        api.post("nodes/pve1/qemu", doing="make VM 101", vmid=101)
    assert not isinstance(raised.value, Unclear)


def test_a_lock_that_never_goes_is_told(node, api, recorded):
    node.on("PUT", "x", recorded["lockfile-timeout"])
    with pytest.raises(Refused, match="can't lock file"):
        api.put("x", doing="change it")
    assert len(node.asked) == 4


def test_forms_carry_truth_as_numbers_and_nothing_for_none(node, api):
    node.on("POST", "x", "UPID:").on("GET", "y", 1).on("DELETE", "z", None)
    api.post("x", doing="try", a=True, b=False, c=None, size="+1G", name="a b")
    _, _, body, _, _ = node.asked[-1]
    assert parse_qs(body.decode()) == {"a": ["1"], "b": ["0"], "size": ["+1G"], "name": ["a b"]}
    api.delete("z", doing="try", purge=True)
    assert node.asked[-1][4] == "/api2/json/z?purge=1"


@pytest.mark.parametrize(
    ("answer", "told", "hint"),
    [
        (
            (403, "Permission check failed (/vms/101, VM.Audit)"),
            "Permission check failed (/vms/101, VM.Audit)",
            "pveum acl modify /vms/101 --roles Strata --tokens 'root@pam!t1'",
        ),
        (
            (400, "Parameter verification failed.", {"cores": "type check ('integer') failed"}),
            "cores: type check ('integer') failed",
            "",
        ),
        ((500, "VM is locked (clone)"), "VM is locked (clone)", "until the task that holds it"),
    ],
)
def test_what_it_says_is_told_with_the_next_command(node, api, answer, told, hint):
    node.on("POST", "x", answer)
    with pytest.raises(Refused) as raised:
        api.post("x", doing="make VM 101")
    assert str(raised.value).startswith(f"Unable to make VM 101: {told}.")
    assert hint in raised.value.hint


def test_what_is_absent_is_told_from_what_cannot_be_seen(node, api):
    absent = (500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist")
    node.on("GET", "nodes/pve1/qemu/999/config", absent)
    assert api.config("pve1", 999) is None
    node.on("GET", "nodes/pve1/qemu/999/config", (403, "Permission check failed"))
    with pytest.raises(Refused):
        api.config("pve1", 999)
    node.on("GET", "access/permissions", {})
    assert api.privileges().is_powerless


def test_what_all_hosts_share_is_asked_once_until_something_changes(node, api):
    node.on("GET", "cluster/resources", [{"vmid": 101, "type": "qemu", "tags": "B;strata"}])
    threads = [threading.Thread(target=api.vms) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert api.calls == 1
    assert api.vms()[0].tags == {"b", "strata"}
    node.on("PUT", "x", None)
    api.put("x", doing="change it")
    api.vms()
    assert api.calls == 3


def test_a_refusal_is_remembered_only_until_something_changes(node, api):
    absent = (500, "Configuration file 'nodes/pve1/qemu-server/9000.conf' does not exist")
    node.on("GET", "x", absent, {"name": "t"}).on("PUT", "y", None)
    for _ in range(2):
        with pytest.raises(Refused):
            api.once("x", doing="look")
    assert api.calls == 1
    api.put("y", doing="change it")
    assert api.once("x", doing="look") == {"name": "t"}


def test_the_clock_of_the_node_is_known_without_asking(node, api):
    node.on("GET", "version", VERSION)
    api.version()
    assert abs(api.skew) < 5


@pytest.mark.parametrize("size", [100_000, 11 * 1024 * 1024])
def test_a_file_is_sent_whole_and_progress_is_told(node, api, tmp_path, size):
    node.on("POST", "nodes/pve1/storage/local/upload", "UPID:x")
    file = tmp_path / "disk"
    file.write_bytes(b"x" * size)
    told = []
    sent = Sent(file, "t.qcow2", lambda done, total: told.append((done, total)))
    upid = api.upload("nodes/pve1/storage/local/upload", sent, doing="send it", content="import")
    assert upid == "UPID:x"
    _, _, body, headers, _ = node.asked[-1]
    assert headers["Content-Type"].startswith("multipart/form-data")
    assert b'name="filename"; filename="t.qcow2"' in body
    assert body.index(b'name="content"') < body.index(b'name="filename"')
    assert body.count(b"x" * size) == 1
    assert told[-1] == (size, size)


def test_stopping_an_upload_is_no_failure_of_the_node(node, api, tmp_path):
    node.on("POST", "up", "UPID:x")
    file = tmp_path / "disk"
    file.write_bytes(b"x" * 20_000_000)

    def stop(done, total):
        raise Interrupted("Interrupted.")

    with pytest.raises(Interrupted):
        api.upload("up", Sent(file, "t.qcow2", stop), doing="send it", content="import")


def test_whoever_asked_to_stop_gets_no_further_requests(node, api):
    api.cancelled.set()
    with pytest.raises(Interrupted):
        api.version()
    assert node.asked == []


def test_the_extra_is_named_where_it_is_missing(access, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "lab.clients.proxmox.connection", None)
    with pytest.raises(LabError, match="the library for it is not installed") as raised:
        other(access).version()
    assert "strata-lab[proxmox]" in raised.value.hint


def test_access_reads_a_ca_that_only_its_name_is_known_of(tmp_path, node):
    from lab.model.files import LabFile
    from lab.model.proxmox import Proxmox

    (tmp_path / "ca.pem").write_text(node.pem)
    provider = Proxmox.model_construct(
        url=node.url, fingerprint=None, ca=LabFile("ca.pem", b""), token=Secret("pve")
    )
    assert Access.of(provider, tmp_path).ca == node.pem
