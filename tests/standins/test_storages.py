"""Storages: uploads, downloads with a checksum, content and free space."""

import hashlib
import http.server
import threading

import pytest

BODY = b"an image\n" * 1000


@pytest.fixture
def web():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/x.qcow2":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(BODY)

        do_HEAD = do_GET  # noqa: N815  the library's names

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/x.qcow2"
    server.shutdown()
    server.server_close()


def upload(api, name, body, content="import", **fields):
    parts = b"".join(
        f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in {"content": content, **fields}.items()
    )
    parts += (
        f'--B\r\nContent-Disposition: form-data; name="filename"; filename="{name}"\r\n'.encode()
    )
    parts += b"Content-Type: application/octet-stream\r\n\r\n" + body + b"\r\n--B--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    path = "/nodes/pve1/storage/local/upload"
    return api.call("POST", path, {}, body=parts, headers=headers)


def test_an_upload_arrives_byte_by_byte(standin, api):
    body = bytes(range(256)) * 5000 + b"\r\n--not the mark\r\n\n"
    assert api.done(upload(api, "x.qcow2", body)) == "OK"
    [found] = api.get("/nodes/pve1/storage/local/content", content="import").data
    assert (found["volid"], found["size"]) == ("local:import/x.qcow2", len(body))
    volume = standin.world.volumes.find("local:import/x.qcow2", "pve1")
    assert volume.file.read_bytes() == body


def test_an_upload_with_a_wrong_name_place_or_checksum_is_refused(standin, api):
    assert upload(api, "x.exe", b"x").status == 400
    assert "enumeration" in upload(api, "x.yaml", b"x", "snippets").errors["content"]
    wrong = {"checksum": "0" * 64, "checksum-algorithm": "sha256"}
    assert "checksum mismatch" in upload(api, "x.qcow2", b"x", **wrong).reason
    standin.world.storages["local"].content.discard("import")
    assert "import" in upload(api, "x.qcow2", b"x").errors["storage"]
    assert api.get("/nodes/pve1/storage/local/content").data == []


def test_a_download_is_fetched_and_held_to_its_checksum(api, web):
    path = "/nodes/pve1/storage/local/download-url"
    form = {"content": "import", "filename": "x.qcow2", "url": web}
    wrong = api.post(path, **form, checksum="0" * 64, checksum_algorithm="sha256")
    assert "checksum mismatch" in api.done(wrong)
    assert api.get("/nodes/pve1/storage/local/content").data == []
    right = hashlib.sha256(BODY).hexdigest()
    said = api.post(path, **form, checksum=right, checksum_algorithm="sha256")
    assert api.done(said) == "OK"
    assert "refusing to override" in api.done(api.post(path, **form))
    missing = {**form, "filename": "y.qcow2", "url": web.replace("/x.", "/y.")}
    assert api.done(api.post(path, **missing)) == "download failed: exit code 8"
    assert api.get("/nodes/pve1/query-url-metadata", url=web).data["size"] == len(BODY)
    said = api.post(path, **form, checksum=right)
    assert said.errors == {"checksum-algorithm": "missing property required by 'checksum'"}


def test_only_loopback_is_asked(api):
    form = {"content": "iso", "filename": "x.iso", "url": "http://192.0.2.1/x.iso"}
    said = api.post("/nodes/pve1/storage/local/download-url", **form)
    assert "loopback only" in api.done(said)


def test_free_space_is_what_is_not_used(standin, api):
    standin.add_storage("small", "lvm", total=10 << 30, base_used=0)
    before = api.get("/nodes/pve1/storage/small/status").data
    assert (before["avail"], before["used"]) == (10 << 30, 0)
    assert api.done(api.post("/nodes/pve1/qemu", vmid=101, scsi0="small:4")) == "OK"
    assert api.get("/nodes/pve1/storage/small/status").data["avail"] == 6 << 30


def test_storages_of_other_nodes_and_disabled_ones_are_not_offered(standin, api):
    standin.add_node("pve2")
    standin.add_storage("there", nodes={"pve2"})
    assert "there" not in {one["storage"] for one in api.get("/nodes/pve1/storage").data}
    said = api.get("/nodes/pve1/storage/there/content")
    assert said.reason == "storage 'there' is not available on node 'pve1'"
    api.put("/storage/local", disable=1)
    assert api.get("/nodes/pve1/storage/local/content").reason == "storage 'local' is disabled"


def test_a_networks_edit_waits_until_it_is_applied(api):
    api.post("/nodes/pve1/network", iface="vmbr1", type="bridge", autostart=1)
    said = api.get("/nodes/pve1/network")
    assert "iface vmbr1" in said.body["changes"]
    assert api.done(api.put("/nodes/pve1/network")) == "OK"
    said = api.get("/nodes/pve1/network")
    assert "changes" not in said.body
    assert {one["iface"] for one in said.data} == {"vmbr0", "vmbr1"}
