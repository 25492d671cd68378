import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from lab.clients import process
from lab.errors import DriverError
from lab.layer import silent
from lab.model.files import LabFile
from layers.l4_workload import archive, imagebuild
from layers.l4_workload.drift import definition
from layers.l4_workload.imagebuild import ImageShelf
from layers.l4_workload.spec import ImageSource

SOURCE = ImageSource(
    files={
        "/site/index.html": LabFile("index.html", b"<h1>Hi</h1>"),
        "/usr/bin/serve": LabFile("serve", b"#!/bin/sh\n", executable=True),
    },
    command=("serve",),
    env={"GREETING": "Hi"},
    expose=(8080,),
    user="65534:65534",
)


def package_tree(path: Path, mtime: int, *, backwards: bool = False) -> Path:
    """What mmdebstrap leaves behind, in some order and at some time."""
    entries = [
        ("./usr/bin/busybox", tarfile.REGTYPE, b"ELF", ""),
        ("./usr/bin/sh", tarfile.LNKTYPE, b"", "./usr/bin/zz"),
        ("./usr/bin/zz", tarfile.REGTYPE, b"zz", ""),
        ("./usr/share/doc/busybox/copyright", tarfile.REGTYPE, b"GPL", ""),
        ("./usr/share/doc/busybox/changelog.gz", tarfile.REGTYPE, b"old", ""),
        ("./usr/share/man/man1/busybox.1.gz", tarfile.REGTYPE, b"man", ""),
        ("./etc/resolv.conf", tarfile.REGTYPE, b"nameserver", ""),
        ("./dev/null", tarfile.CHRTYPE, b"", ""),
        ("./usr/bin", tarfile.DIRTYPE, b"", ""),
        ("./", tarfile.DIRTYPE, b"", ""),
    ]
    with tarfile.open(path, "w") as tar:
        for name, kind, content, link in reversed(entries) if backwards else entries:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mtime = kind, link, mtime
            member.size, member.mode, member.uname = len(content), 0o755, "root"
            tar.addfile(member, io.BytesIO(content))
    return path


def opened(path: Path) -> tuple[dict[str, bytes], tarfile.TarFile]:
    outer = tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes())))  # noqa: SIM115
    files = {m.name: outer.extractfile(m).read() for m in outer.getmembers()}
    layer = next(name for name in files if name.endswith("/layer.tar"))
    return files, tarfile.open(fileobj=io.BytesIO(files[layer]))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    first = package_tree(tmp_path / "a.tar", 1)
    second = package_tree(tmp_path / "b.tar", 2, backwards=True)
    one = archive.write("home/x:1", SOURCE, {"l": "1"}, "amd64", first, tmp_path / "one.gz")
    two = archive.write("home/x:1", SOURCE, {"l": "1"}, "amd64", second, tmp_path / "two.gz")

    assert one.archive.read_bytes() == two.archive.read_bytes()
    assert one.identity == two.identity
    assert not list(tmp_path.glob("*.layer"))


def test_the_archive_is_what_docker_load_reads(tmp_path):
    tree = package_tree(tmp_path / "a.tar", 1)
    image = archive.write("home/x:1", SOURCE, {"mark": "d"}, "amd64", tree, tmp_path / "x.gz")
    files, layer = opened(image.archive)

    (manifest,) = json.loads(files["manifest.json"])
    config = json.loads(files[manifest["Config"]])
    assert manifest["RepoTags"] == ["home/x:1"]
    assert image.identity == "sha256:" + hashlib.sha256(files[manifest["Config"]]).hexdigest()
    (content,) = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(files[content]).hexdigest()]
    assert config["config"]["Cmd"] == ["serve"]
    assert config["config"]["User"] == "65534:65534"
    assert config["config"]["Labels"] == {"mark": "d"}
    assert "GREETING=Hi" in config["config"]["Env"]
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}
    assert {m.mtime for m in layer.getmembers()} == {0}


def test_the_layer_holds_programs_and_files_and_nothing_of_a_whole_system(tmp_path):
    tree = package_tree(tmp_path / "a.tar", 1)
    image = archive.write("home/x:1", SOURCE, {}, "amd64", tree, tmp_path / "x.gz")
    _, layer = opened(image.archive)
    names = layer.getnames()

    assert "usr/share/doc/busybox/copyright" in names
    assert not {n for n in names if n.startswith(("dev", "etc", "usr/share/man"))}
    assert layer.extractfile("site/index.html").read() == b"<h1>Hi</h1>"
    assert layer.getmember("usr/bin/serve").mode == 0o755
    assert names.index("usr/bin/zz") < names.index("usr/bin/sh")
    assert len(names) == len(set(names))


def test_the_definition_follows_everything_that_the_image_is_made_from():
    changed = [
        {"command": ("other",)},
        {"env": {}},
        {"packages": ("busybox-static",)},
        {"files": {"/usr/bin/serve": LabFile("serve", b"#!/bin/sh\n", executable=False)}},
    ]
    found = {definition(SOURCE)} | {definition(SOURCE.model_copy(update=c)) for c in changed}
    assert len(found) == 5
    moved = {p: LabFile("elsewhere", f.content, f.executable) for p, f in SOURCE.files.items()}
    assert definition(SOURCE.model_copy(update={"files": moved})) == definition(SOURCE)


def test_an_image_of_files_only_needs_no_mmdebstrap_and_is_made_once(workspace, monkeypatch):
    monkeypatch.setattr(imagebuild, "run", lambda *a, **k: pytest.fail("ran a program"))
    shelf = ImageShelf(workspace)
    said: list[str] = []

    def report(doing: str, done: int | None = None, total: int | None = None) -> None:
        said.append(doing)

    first = shelf.image("home/x:1", SOURCE, report)
    second = shelf.image("home/x:1", SOURCE, report)
    assert said == ["building image home/x:1"]
    assert (first.archive, first.size) == (second.archive, second.size)
    assert [p.name for p in first.archive.parent.iterdir()] == [first.archive.name]


def test_a_package_that_does_not_exist_is_an_error_with_its_words(workspace, monkeypatch):
    def failing(argv, **kwargs):
        command = ["sh", "-c", "echo 'E: Unable to locate package nope' >&2; exit 25"]
        return process.run(command, doing=kwargs["doing"], hint=kwargs["hint"])

    monkeypatch.setattr(imagebuild, "run", failing)
    source = ImageSource(packages=("nope",))
    with pytest.raises(DriverError, match="home/x:1 on this machine: E: Unable to locate package"):
        ImageShelf(workspace).image("home/x:1", source, silent)
    assert not list((workspace.cache / "workload-images").iterdir())


@pytest.mark.build
def test_a_real_image_of_busybox_is_small(workspace):
    source = ImageSource(packages=("busybox-static",), command=("busybox", "true"))
    image = ImageShelf(workspace).image("home/busybox:1", source, silent)
    _, layer = opened(image.archive)
    assert "usr/bin/busybox" in layer.getnames()
    assert layer.getmember("bin").linkname == "usr/bin"
    assert image.size < 2_000_000
