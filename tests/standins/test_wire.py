"""HTTP as the real API speaks it."""

import http.client
import json
import socket
import ssl

import pytest


def test_tls_is_modern_and_the_fingerprint_is_the_certificates(standin):
    context = ssl.create_default_context(cafile=str(standin.certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with (
        socket.create_connection(("127.0.0.1", standin.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        import hashlib

        found = hashlib.sha256(secured.getpeercert(binary_form=True)).hexdigest().upper()
        assert ":".join(found[i : i + 2] for i in range(0, 64, 2)) == standin.fingerprint
        assert secured.version() == "TLSv1.3"


def test_a_connection_is_kept_until_an_error_closes_it(standin, api):
    context = ssl.create_default_context(cafile=str(standin.certificate))
    connection = http.client.HTTPSConnection("127.0.0.1", standin.port, context=context)
    for path, kept in (("/version", True), ("/nodes", True), ("/bogus", False)):
        connection.request("GET", f"/api2/json{path}", headers=api.headers)
        answer = connection.getresponse()
        answer.read()
        assert (answer.getheader("Connection") == "Keep-Alive") is kept
    connection.close()


def test_who_is_not_logged_in_gets_an_empty_body(api, as_token):
    api.headers = {}
    said = api.get("/version")
    assert (said.status, said.reason, said.body) == (401, "No ticket", None)
    said = as_token("root@pam!standin=wrong").get("/version")
    assert (said.status, said.reason, said.body) == (401, "Authentication failed!", None)


def test_a_ticket_needs_its_csrf_token_to_change_things(standin, api):
    api.headers = {}
    said = api.post("/access/ticket", username="root@pam", password="wrong")
    assert (said.status, said.reason) == (401, "authentication failure")
    ticket = api.post("/access/ticket", username="root@pam", password=standin.password).data
    api.headers = {"Cookie": f"PVEAuthCookie={ticket['ticket']}"}
    assert api.get("/nodes").status == 200
    said = api.post("/pools", poolid="lab")
    assert (said.status, said.reason) == (401, "Permission denied - invalid csrf token")
    api.headers["CSRFPreventionToken"] = ticket["CSRFPreventionToken"]
    assert api.post("/pools", poolid="lab").status == 200


def test_errors_are_in_the_reason_and_in_the_body(api):
    said = api.get("/nodes/pve1/qemu/999/config")
    assert said.status == 500
    assert said.reason == "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"
    assert said.body == {"data": None, "message": said.reason + "\n"}
    said = api.get("/nodes/nope/status")
    assert said.reason.startswith("hostname lookup 'nope' failed")


def test_booleans_are_numbers_in_forms_and_may_be_json_in_json(standin, api):
    standin.add_vm(101, "a")
    said = api.put("/nodes/pve1/qemu/101/config", onboot="true")
    assert said.errors == {"onboot": "type check ('boolean') failed - got 'true'"}
    body = json.dumps({"onboot": True, "cores": 2})
    headers = {"Content-Type": "application/json"}
    path = "/nodes/pve1/qemu/101/config"
    assert api.call("PUT", path, {}, body=body, headers=headers).status == 200
    assert (api.config(101)["onboot"], api.config(101)["cores"]) == (1, 2)


def test_every_bad_parameter_is_named_at_once(api):
    said = api.post("/nodes/pve1/qemu", vmid=9, cores="x", bogus=1, net0="virtio,bridge=a/b")
    assert said.reason == "Parameter verification failed."
    assert set(said.errors) == {"vmid", "cores", "bogus", "net0"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_body_where_none_belongs_is_refused(api, method):
    said = api.call(method, "/nodes/pve1/qemu/101", {}, body="purge=1")
    assert (said.status, said.reason) == (501, f"Unexpected content for method '{method}'")


def test_trailing_and_doubled_slashes_mean_nothing(standin, api):
    standin.add_vm(101, "a")
    assert api.get("/nodes//pve1/qemu/101/config/").status == 200
    assert api.done(api.delete("/nodes/pve1/qemu/101/")) == "OK"


def test_what_the_stand_in_cannot_do_it_says(api):
    said = api.get("/cluster/ceph/status")
    assert said.status == 501
    assert "the stand-in has no answer" in said.reason
