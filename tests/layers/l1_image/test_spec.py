import pytest
from pydantic import ValidationError

from lab.model.files import LabFile
from lab.model.host import Host
from layers.l1_image import LAYER, planner
from layers.l1_image.spec import Document, Image, Spec

WHOLE = {"url": "https://images.lan/Noble-Server.qcow2", "checksum": f"sha256:{'a' * 64}"}
CERTIFICATE = LabFile("personas/web/ca.pem", b"-----BEGIN CERTIFICATE-----\nx\n")


def image(**fields):
    return Image.model_validate({"base": "debian-13", **fields})


def name(**fields):
    return Spec.of(image(**fields)).name


def message(section):
    with pytest.raises(ValidationError) as caught:
        Image.model_validate(section)
    return "\n".join(str(e["msg"]) for e in caught.value.errors())


def test_the_name_is_base_and_hash_of_the_inputs():
    assert name().startswith("debian-13-")
    assert len(name().removeprefix("debian-13-")) == 12
    assert name() == name()


def test_a_suite_and_its_number_are_one_thing():
    assert name(base="trixie") == name(base="debian-13")
    assert name(base="bookworm").startswith("debian-12-")


def test_the_order_of_packages_makes_no_new_template():
    assert name(packages=["curl", "jq"]) == name(packages=["jq", "curl", "jq"])


@pytest.mark.parametrize(
    "fields",
    [
        {"packages": ["jq"]},
        {"files": {"/etc/issue": {"content": "hello"}}},
        {"files": {"/etc/issue": {"content": "hello", "mode": "0600"}}},
        {"certificates": [CERTIFICATE]},
        {"kernel_parameters": ["quiet"]},
        {
            "repositories": [
                {
                    "name": "own",
                    "uri": "https://deb.lan/debian",
                    "suites": ["trixie"],
                    "key": LabFile("key.asc", b"key"),
                }
            ]
        },
    ],
)
def test_each_input_changes_the_name(fields):
    assert name(**fields) != name()


def test_the_content_of_a_file_changes_the_name_and_its_path_in_the_lab_does_not():
    def with_source(path, content):
        return name(files={"/etc/x": {"source": LabFile(path, content)}})

    assert with_source("a", b"1") == with_source("b", b"1")
    assert with_source("a", b"1") != with_source("a", b"2")


def test_a_cloud_image_is_named_by_its_file_and_checksum():
    spec = Spec.of(Image.model_validate({"base": WHOLE}))
    other = Spec.of(Image.model_validate({"base": {**WHOLE, "checksum": f"sha256:{'b' * 64}"}}))
    assert spec.name.startswith("noble-server-")
    assert spec.name != other.name


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"base": "debian-14"}, "'debian-14' is not a base: write one of debian-13, debian-12"),
        ({"base": {"url": "https://x.lan/a.qcow2"}}, "no checksum"),
        ({"base": {"url": "https://x.lan/a.qcow2", "checksum": "md5:1"}}, "sha256: and 64 hex"),
        ({"base": {"url": "ftp://x.lan/a", "checksum": WHOLE["checksum"]}}, "neither an http(s)"),
        ({"base": {"url": "a.qcow2", "checksum": WHOLE["checksum"]}}, "whole path"),
        ({"base": {**WHOLE, "url": "https://me:pw@x.lan/a"}}, "no user or password"),
        ({"base": "debian-13", "template": "debian-13"}, "not the name of a template"),
        ({"base": "debian-13", "captured": "web1@1a2b3c4d"}, "name it at template"),
        ({"base": "debian-13", "packages": ["jq; rm -rf /"]}, "not the name of a Debian package"),
        ({"base": "debian-13", "package": ["jq"]}, "Extra inputs are not permitted"),
        ({"base": "debian-13", "files": {"etc/x": {"content": ""}}}, "not the whole path"),
        ({"base": "debian-13", "files": {"/a/../b": {"content": ""}}}, "not the whole path"),
        ({"base": "debian-13", "files": {"/x": {}}}, "either content or source"),
        ({"base": "debian-13", "files": {"/x": {"content": "", "mode": 644}}}, "in quotes"),
        ({"base": "debian-13", "kernel_parameters": ["a b"]}, "not one kernel parameter"),
        ({"base": "debian-13", "certificates": [LabFile("c.pem", b"no")]}, "c.pem is not a cert"),
    ],
)
def test_bad_input_is_refused_in_plain_words(section, said):
    assert said in message(section)


def test_what_a_cloud_image_cannot_be_given_is_told_one_by_one_at_its_place():
    parts = LAYER.parts(
        Document.model_validate(
            {"image": {"base": WHOLE, "packages": ["jq"], "kernel_parameters": ["quiet"]}}
        )
    )
    problems = planner.check(Host("web1", "web", "box"), parts[0])
    assert [path for path, _ in problems] == [("image", "packages"), ("image", "kernel_parameters")]
    assert all("belongs under system:" in what for _, what in problems)


def test_a_promoted_template_is_the_one_that_machines_get_and_containers_follow_their_definition():
    promoted = image(template="web-0123456789ab")
    spec = Spec.of(promoted)
    assert (spec.name, spec.pinned) == ("web-0123456789ab", True)
    assert spec.own_name == name()
    container = Spec.of(promoted, engine="")
    assert (container.name, container.pinned) == (container.own_name, False)


def test_a_persona_without_an_image_has_no_part():
    assert LAYER.parts(Document.model_validate({"provider": {"kind": "qemu"}})) == ()


@pytest.mark.parametrize(("kind", "driver"), [("qemu", "debian"), ("memory", "memory")])
def test_the_provider_chooses_the_driver(kind, driver):
    document = Document.model_validate({"provider": {"kind": kind}, "image": {"base": "debian-13"}})
    (part,) = LAYER.parts(document)
    assert part.driver == driver


def test_a_spec_survives_the_ledger():
    spec = Spec.of(image(certificates=[CERTIFICATE], packages=["jq"]))
    again = Spec.model_validate_json(spec.model_dump_json())
    assert (again.name, again.definition) == (spec.name, spec.definition)


def test_the_declared_baseline_names_the_packages_but_is_not_complete():
    baseline = planner.declared_baseline(Spec.of(image(packages=["jq"])).definition)
    assert baseline.packages["jq"] == ""
    assert (baseline.complete, baseline.release) == (False, "13")
