"""What an engine has that no workload owns: from recordings of a real one, asked both ways."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.model.host import Host, Part
from lab.model.undeclared import Sort
from layers.l4_workload import LAYER
from layers.l4_workload.planner import known, surveyor
from layers.l4_workload.spec import Document, Workload
from layers.l4_workload.survey import Engine, projects, read, script, undeclared

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(params=["curl", "docker"])
def engine(request):
    return read((RECORDINGS / f"engine-{request.param}.txt").read_text())


def told(engine, *workloads):
    return {(t.sort, t.name) for t in undeclared(engine, workloads)}


def test_everything_that_no_workload_owns_is_named(engine):
    assert told(engine) == {
        (Sort.CONTAINER, "byhand"),
        (Sort.CONTAINER, "shop-web-1"),
        (Sort.VOLUME, "left"),
        (Sort.VOLUME, "shop_data"),
        (Sort.NETWORK, "lonely"),
        (Sort.NETWORK, "shop_default"),
        (Sort.IMAGE, "tiny:1"),
        (Sort.IMAGE, "loose:1"),
    }


def test_a_declared_workload_owns_all_of_its_project(engine):
    assert told(engine, "shop") == {
        (Sort.CONTAINER, "byhand"),
        (Sort.VOLUME, "left"),
        (Sort.NETWORK, "lonely"),
        (Sort.IMAGE, "loose:1"),
    }


def test_details_say_whose_it_is_and_how_large(engine):
    found = {t.name: t for t in undeclared(engine, ())}
    assert found["shop_data"].detail == "of shop-web-1"
    assert found["left"].detail == "used by nothing"
    assert found["left"].size == 4096
    assert found["byhand"].detail == "running, tiny:1"


def test_projects_are_told_with_where_their_files_are(engine):
    left = dict(projects(engine))
    assert "/opt/shop/compose.yaml" in left["Compose project shop"]
    assert "container byhand" in left


def test_an_anonymous_volume_of_a_workload_is_its_own():
    name = "0" * 64
    engine = Engine(
        containers=(
            {
                "Names": ["/a"],
                "Labels": {"com.docker.compose.project": "shop"},
                "Mounts": [{"Type": "volume", "Name": name}],
            },
        ),
        volumes=({"Name": name, "Labels": None}, {"Name": "1" * 64, "Labels": None}),
    )
    assert told(engine, "shop") == {(Sort.VOLUME, "111111111111 (anonymous)")}


def test_our_own_images_are_no_strangers_and_nameless_ones_are_counted_once():
    engine = Engine(
        images=(
            {"Id": "a", "RepoTags": ["home/start:1"], "Labels": {"io.strata.image": "x"}},
            {"Id": "b", "RepoTags": None, "Size": 3},
            {"Id": "c", "RepoTags": ["<none>:<none>"], "Size": 4},
        )
    )
    (thing,) = undeclared(engine, ())
    assert (thing.name, thing.detail, thing.size) == ("(without a name)", "2 of them", 7)


def test_an_answer_that_is_cut_short_is_no_answer():
    assert read("\n==strata-survey== containers\n[]\n") is None


def test_a_stopped_engine_has_nothing():
    assert read("\n==strata-survey== end\n") == Engine()


@pytest.mark.parametrize("noise", ["{", "[1, 2]", "null", '"x"'])
def test_nonsense_is_refused_or_ignored(noise):
    text = f"\n==strata-survey== containers\n{noise}\n\n==strata-survey== end\n"
    try:
        assert read(text).containers == ()
    except ValueError:
        assert noise == "{"


def test_the_script_never_starts_an_engine():
    text = script()
    assert "systemctl" not in text
    assert text.index("if [ $engine = running ]") < text.index("docker ps")
    assert "{" not in text.split("mark end")[1]


def test_a_host_without_workloads_is_looked_at_too_unless_it_is_only_remembered():
    local = Part("", "local", SimpleNamespace())
    part = surveyor(LAYER, Host("a", "p", "there", parts={"l0_runway": (local,)}))
    assert (part.name, part.driver) == ("", "compose")
    assert isinstance(part.spec, Document)
    memory = Part("", "memory", SimpleNamespace())
    assert surveyor(LAYER, Host("a", "p", "box", parts={"l0_runway": (memory,)})) is None


def test_the_data_of_a_workload_is_accounted_for():
    spec = Workload.model_validate({"compose": "start/compose.yaml", "data": ["/srv/start"]})
    host = Host("a", "p", "box")
    assert known(host, Part("start", "compose", spec)) == {(Sort.DIRECTORY, "/srv/start")}
