"""Images in a real engine; where a whole Debian is not the point, of a tree that holds a file."""

import io
import os
import tarfile
from dataclasses import replace

import pytest

from lab.clients.docker import Engine
from lab.errors import Interrupted
from lab.layer import Target
from lab.model.baseline import Baseline
from lab.model.host import Host
from lab.model.plan import Action
from layers.l1_image import LAYER, planner
from layers.l1_image.drivers.container import driver as driver_module
from layers.l1_image.drivers.container.driver import ContainerDriver
from layers.l1_image.drivers.container.recipe import RECIPE
from layers.l1_image.drivers.container.shelf import Shelf
from layers.l1_image.spec import Document, Image, Inputs, Spec

SECTION = {"base": "debian-13", "packages": ["jq"]}
WHOLE = {"url": "https://x.lan/a.qcow2", "checksum": f"sha256:{'0' * 64}"}


def part_of(image, kind="docker"):
    (part,) = LAYER.parts(Document.model_validate({"provider": {"kind": kind}, "image": image}))
    return part


def test_the_provider_chooses_the_driver_and_another_name():
    docker, qemu = part_of(SECTION), part_of(SECTION, "qemu")
    assert (docker.driver, docker.spec.engine) == ("container", "")
    assert docker.spec.name != qemu.spec.name, "hosts of both kinds would share one template"
    again = Spec.model_validate_json(docker.spec.model_dump_json())
    assert (again.name, again.definition) == (docker.spec.name, docker.spec.definition)


@pytest.mark.parametrize(
    ("image", "where"),
    [
        ({"base": WHOLE}, ("image", "base")),
        ({**SECTION, "kernel_parameters": ["audit=0"]}, ("image", "kernel_parameters")),
    ],
    ids=["a cloud image", "kernel parameters"],
)
def test_what_a_container_cannot_have_is_told_where_it_stands(image, where):
    host = Host("web1", "web", "box")
    assert [path for path, _ in planner.check(host, part_of(image))] == [where]
    assert planner.check(host, part_of(image, "qemu")) == ()


def test_the_declared_baseline_is_a_containers():
    found = planner.declared_baseline(part_of(SECTION).spec.definition)
    assert {"jq", "python3", "openssh-server"} <= set(found.packages)
    assert "cloud-init" not in found.packages


def test_the_first_process_is_a_script_that_any_shell_reads(tmp_path):
    (text, mode) = RECIPE.files("x")["/usr/sbin/container-init"]
    (tmp_path / "init").write_text(text)
    assert os.waitstatus_to_exitcode(os.system(f"sh -n {tmp_path}/init")) == 0
    assert mode == 0o755


def archive(pad=0):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = pad
        tar.addfile(entry, io.BytesIO(bytes(pad)))
    return packed.getvalue()


@pytest.fixture
def in_engine(engine, workspace):
    """Targets whose templates live in a real engine, for a lab of its own; swept up afterwards."""
    lab = f"l1-{os.getpid()}"
    workspace = replace(workspace, lab=lab)

    def make(section=None, host="web1", **fields):
        spec = Spec.of(Image.model_validate(section or SECTION), engine)
        return Target(Host(host, "web", "box"), spec, Inputs(), **fields)

    make.workspace, make.engine = workspace, Engine(engine)
    make.driver, make.shelf = ContainerDriver(workspace), Shelf(make.engine, lab)
    yield make
    for name in [kept.name for kept in make.shelf.all()]:
        make.shelf.drop(name)


@pytest.fixture
def built(monkeypatch):
    """Builds are of a tree with one file; which were built."""
    names = []

    def make(spec, recipe, folder, workspace, report, log):
        names.append(spec.name)
        (folder / "tree").mkdir()
        (folder / "tree/hello").write_bytes(bytes(3 << 20))
        (folder / "units.txt").write_text("")

    monkeypatch.setattr(driver_module.tree, "make", make)
    baseline = Baseline(
        complete=True, release="13", conffiles={f"/etc/{i}": "0" for i in range(400)}
    )
    monkeypatch.setattr(driver_module.records, "read", lambda tree, units: baseline)
    return names


def plan(make, target):
    return planner.plan(target, make.driver.observe(target), frozenset())


def apply(make, target):
    (change,) = plan(make, target).changes
    make.driver.apply(target, change)


@pytest.mark.engine
def test_what_was_built_is_found_whole(in_engine, built):
    target = in_engine()
    (change,) = plan(in_engine, target).changes
    in_engine.driver.apply(target, change)
    in_engine.driver.apply(target, change)
    assert built == [target.spec.name]
    observed = in_engine.driver.observe(target)
    assert not planner.plan(target, observed, frozenset())
    outputs = planner.outputs(target, observed)
    assert outputs.template == f"strata/{target.spec.name}:{in_engine.workspace.lab}"
    assert outputs.baseline.complete
    assert len(outputs.baseline.conffiles) == 400
    image = in_engine.engine.get(f"/images/{outputs.template}/json", doing="look")
    assert image["Config"]["Cmd"] == ["/usr/sbin/container-init"]
    assert not list((in_engine.workspace.state / "images").glob(".building-*"))


@pytest.mark.engine
def test_another_lab_takes_what_is_there_and_leaves_it_when_it_goes(in_engine, built):
    target = in_engine()
    apply(in_engine, target)
    other = f"{in_engine.workspace.lab}-b"
    driver = ContainerDriver(replace(in_engine.workspace, lab=other, _resources={}))
    (change,) = planner.plan(target, driver.observe(target), frozenset()).changes
    driver.apply(target, change)
    assert built == [target.spec.name], "it was built once"
    (change,) = driver.unused(frozenset())
    assert (change.action, change.what) == (Action.DELETE, f"template {target.spec.name}")
    driver.prune(change)
    assert driver.unused(frozenset()) == ()
    assert not plan(in_engine, target)


@pytest.mark.engine
def test_what_a_host_was_made_from_is_kept_and_named_before_its_next(in_engine, built):
    target = in_engine()
    apply(in_engine, target)
    lab, name = in_engine.workspace.lab, f"strata-{in_engine.workspace.lab}-web1"
    labels = {"strata.lab": lab, "strata.host": "web1", "strata.template": target.spec.name}
    body = {"Image": in_engine.shelf.reference(target.spec.name), "Labels": labels}
    in_engine.engine.post("/containers/create", {"name": name}, body, doing="make a container")
    try:
        assert in_engine.driver.unused(frozenset()) == ()
        (change,) = in_engine.driver.unused(frozenset(), leaving=frozenset({"web1"}))
        in_engine.driver.prune(change)
        assert in_engine.shelf.find(target.spec.name) is not None
        (change,) = plan(in_engine, in_engine({**SECTION, "packages": ["curl"]})).changes
        assert change.reason == "definition changed"
        assert [(f.field, f.before, f.after) for f in change.fields] == [
            ("packages", ["jq"], ["curl"])
        ]
    finally:
        in_engine.engine.delete(f"/containers/{name}", {"force": True}, doing="remove it")
    assert in_engine.driver.unused(frozenset({target.spec.name})) == ()
    assert len(in_engine.driver.unused(frozenset())) == 1


@pytest.mark.engine
def test_an_image_of_somebody_else_in_its_place_is_left_alone(in_engine, built):
    target = in_engine()
    reference = in_engine.shelf.reference(target.spec.name)
    repository, _, tag = reference.partition(":")
    where = {"fromSrc": "-", "repo": repository, "tag": tag}
    in_engine.engine.send("POST", "/images/create", where, archive(), doing="import")
    try:
        (blocker,) = plan(in_engine, target).blockers
        assert blocker.why == f"an image {reference} exists already, and Strata did not make it"
        assert in_engine.driver.unused(frozenset()) == ()
    finally:
        in_engine.engine.delete(f"/images/{reference}", doing="remove it")
    assert built == []


@pytest.mark.engine
def test_an_import_that_is_stopped_leaves_nothing(in_engine, built):
    def stop(doing, done=None, total=None):
        if doing == "import into Docker" and done > 1 << 20:
            in_engine.workspace.cancelled.set()

    target = in_engine(report=stop)
    with pytest.raises(Interrupted):
        apply(in_engine, target)
    in_engine.workspace.cancelled.clear()
    assert plan(in_engine, target).changes
    assert not list((in_engine.workspace.state / "images").glob(".building-*"))
