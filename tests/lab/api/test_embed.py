"""The library, as docs/embed.md shows it; and what the facade promises, on memory machines."""

import contextlib
import io
import json
import re
import subprocess
import sys

import pytest

from lab import Approval, Lab, events
from lab.api import SavedPlan, Standing
from lab.errors import ConfigError, LabError, PlanError, Stale
from lab.model.outcome import ExitCode
from layers import LAYERS

FILES = {
    "lab.yaml": "name: embed\nproviders:\n  box: {kind: memory}\n",
    "personas/web.yaml": "purpose: a web\nimage: {base: debian-13}\n"
    "machine:\n  cpu: 1\n  memory: 1GiB\n"
    "  disks: {root: {size: 8GiB}, data: {size: 1GiB, durable: true}}\n"
    "system:\n  packages: [curl]\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box, after: [web1]}\n",
}
GO = Approval(allow_destroy=True, confirmed=frozenset({"web1", "web2"}))


@pytest.fixture
def root(lab_dir):
    return lab_dir(FILES)


def edit(root, name, old, new):
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_example_of_the_documentation_runs_as_it_stands(root, repository):
    text = (repository / "docs/embed.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    said = io.StringIO()
    with contextlib.chdir(root), contextlib.redirect_stdout(said):
        exec(compile(code, "docs/embed.md", "exec"), {})
    assert "web1 l2_instantiate create machine" in said.getvalue()
    assert "web1 l3_system changed None" in said.getvalue()


def test_the_library_prints_nothing_and_imports_no_command_line(root):
    code = (
        "import sys\nfrom lab import Lab\n"
        f"with Lab.load({str(root)!r}) as lab:\n    lab.plan(); lab.converge(); lab.status()\n"
        "assert not {'click', 'rich', 'lab.cli'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_event_has_its_json_form(root):
    seen = []
    with Lab.load(root) as lab:
        lab.converge(on_event=seen.append)
    documents = [json.loads(json.dumps(events.to_json(e))) for e in seen]
    assert {d["schema"] for d in documents} == {"lab.event/1"}
    names = [d["event"] for d in documents]
    assert (names[0], names[-1]) == ("run_started", "run_ended")
    assert set(names) >= {"part_started", "part_planned", "change_started", "change_ended"}


def test_a_saved_plan_is_applied_exactly(root, tmp_path):
    path = tmp_path / "plan.json"
    with Lab.load(root) as lab:
        lab.saved(lab.plan("host=web1"), "host=web1").write(path)
    with Lab.load(root) as lab:
        report = lab.apply(SavedPlan.read(path))
        assert (report.exit_code, {p.host for p in report.parts}) == (ExitCode.OK, {"web1"})


def test_a_saved_plan_is_stale_once_the_files_say_something_else(root, tmp_path):
    path = tmp_path / "plan.json"
    with Lab.load(root) as lab:
        lab.saved(lab.plan(), layer=None).write(path)
    edit(root, "personas/web.yaml", "cpu: 1", "cpu: 2")
    with Lab.load(root) as lab, pytest.raises(Stale, match="files changed since"):
        lab.apply(SavedPlan.read(path))


def test_a_saved_plan_is_stale_once_the_world_moved(root, tmp_path):
    path = tmp_path / "plan.json"
    with Lab.load(root) as lab:
        lab.saved(lab.plan()).write(path)
        lab.converge()
        report = lab.apply(SavedPlan.read(path))
    assert report.exit_code is ExitCode.REFUSED
    assert {p.failure.kind for p in report.parts if p.failure} >= {"Stale"}


def test_an_edited_plan_file_is_refused(root, tmp_path):
    path = tmp_path / "plan.json"
    with Lab.load(root) as lab:
        lab.saved(lab.plan()).write(path)
    edit(tmp_path, "plan.json", "1GiB", "9GiB")
    with pytest.raises(Stale, match="changed after it was made"):
        SavedPlan.read(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"schema": "lab.plan/9"}'])
def test_what_is_no_plan_is_refused_in_plain_words(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(LabError, match="it is not a saved plan"):
        SavedPlan.read(path)


def test_status_knows_declared_converged_pending_and_behind(root):
    def standings():
        with Lab.load(root) as lab:
            return {s.layer: s.standing for s in lab.status()[0].layers}

    assert set(standings().values()) == {Standing.DECLARED}
    with Lab.load(root) as lab:
        lab.converge()
    assert set(standings().values()) == {Standing.CONVERGED}
    edit(root, "personas/web.yaml", "packages: [curl]", "packages: [curl, htop]")
    assert {k for k, v in standings().items() if v is Standing.PENDING} == {"l3_system"}


def test_status_knows_a_file_whose_content_changed(root):
    (root / "personas/web").mkdir()
    (root / "personas/web/motd").write_text("one")
    with (root / "personas/web.yaml").open("a") as persona:
        persona.write("  files: {/etc/motd: {source: motd}}\n")
    with Lab.load(root) as lab:
        lab.converge()
        assert not lab.status()[0].behind
    (root / "personas/web/motd").write_text("two")
    with Lab.load(root) as lab:
        assert lab.status()[0].behind


def test_a_host_that_no_file_declares_is_kept_named_and_destroyed_by_name(root):
    with Lab.load(root) as lab:
        lab.converge()
    edit(root, "inventory/hosts.yaml", "  web2: {persona: web, provider: box, after: [web1]}\n", "")
    with Lab.load(root) as lab:
        assert lab.undeclared() == ("web2",)
        assert lab.plan().changes == 0
        assert lab.converge(approval=GO).changes == 0
        assert [s.host for s in lab.status() if not s.declared] == ["web2"]
        lab.destroy("host=web2", approval=GO, with_data=True)
        assert lab.undeclared() == ()


def test_a_lab_is_forgotten_only_when_nothing_of_it_is_left(root):
    with Lab.load(root) as lab:
        lab.converge()
        with pytest.raises(PlanError, match="web1, web2 still exists"):
            lab.forget()
        lab.destroy(approval=GO, with_data=True)
        lab.forget()
        assert not lab.workspace.state.exists()


def test_history_knows_who_what_and_how_it_ended(root):
    with Lab.load(root) as lab:
        lab.converge("host=web1")
        lab.destroy("host=web1", approval=Approval())
        newest, oldest = lab.history()
    assert (newest.verb, newest.exit_code) == ("destroy", 5)
    assert (oldest.verb, oldest.exit_code, oldest.hosts) == ("converge", 0, ("web1",))
    assert "@" in oldest.who
    assert oldest.changes > 0


def test_show_tells_where_each_value_was_written(root):
    with Lab.load(root) as lab:
        shown = {s.path: (s.value, s.where) for s in lab.show("web1")}
    assert shown["machine.memory"] == ("1GiB", "personas/web.yaml:5:11")
    assert shown["persona"][1] == "inventory/hosts.yaml:2:19"


@pytest.mark.parametrize(
    "topic",
    [
        *(layer.short for layer in LAYERS),
        *(layer.name for layer in LAYERS),
        "machine.disks",
        "machine.disks.data.durable",
        "system.files",
        "lifecycle",
        "workloads",
        "after",
        "providers",
        "5",
        "130",
        "exit-codes",
        "NotConverged",
        "unreachable",
    ],
)
def test_every_word_of_a_lab_can_be_explained(root, topic):
    with Lab.load(root) as lab:
        assert len(lab.explain(topic)) > 20


def test_an_unknown_word_gets_the_nearest(root):
    with Lab.load(root) as lab, pytest.raises(ConfigError, match="machine"):
        lab.explain("machin")


def test_schemas_are_json_and_refer_only_to_what_they_define(root):
    with Lab.load(root) as lab:
        for schema in lab.schema().values():
            text = json.dumps(schema)
            for name in re.findall(r'"#/\$defs/([^"]+)"', text):
                assert name in schema["$defs"]
        assert "machine" in lab.schema()["persona"]["properties"]


def test_adopting_is_planned_and_saved_like_anything_else(root, tmp_path):
    with Lab.load(root) as lab:
        saved = lab.saved(lab.plan(adopt=True), adopt=True)
        saved.write(tmp_path / "p")
        assert SavedPlan.read(tmp_path / "p").adopt
        assert lab.apply(SavedPlan.read(tmp_path / "p")).exit_code is ExitCode.OK


def test_no_two_layers_hand_up_the_same_name():
    names = [n for layer in LAYERS for n in layer.outputs_type.model_fields]
    assert sorted(names) == sorted(set(names))


def test_every_section_has_one_owner():
    sections = [s for layer in LAYERS for s in layer.sections]
    assert sorted(sections) == sorted(set(sections))
