import json
import shlex
import subprocess
from pathlib import Path

import pytest

from layers.l4_workload.remote import deployment, logs, probe
from layers.l4_workload.spec import Health

RECORDINGS = Path(__file__).parent / "recordings"
NASTY = ["compose.yaml", "it's $(touch broken).txt", "-rf", "ä b/c;d"]


def recorded(name: str) -> probe.Answer:
    return probe.parse((RECORDINGS / f"{name}.txt").read_text())


def test_a_well_workload_as_the_engine_tells_it():
    answer = recorded("well-curl")
    observed = answer.observed
    (web,) = observed.containers

    assert (observed.engine, answer.way) == ("running", "curl")
    assert (web.service, web.number, web.state, web.health) == ("web", 1, "running", "healthy")
    assert web.settled
    assert web.environment["GREETING"] == "Welcome home"
    assert web.command[:2] == ("busybox", "httpd")
    assert web.mounts[0] == "/srv/start:/srv/start:rw"
    assert web.ports == (":8080->8080/tcp",)
    assert observed.images == {"strata/start:1": "4cb21a4d24294277"}
    assert set(observed.files) == {"compose.yaml", "site/style.css", "site/cgi-bin/index.cgi"}
    assert observed.files["site/cgi-bin/index.cgi"].endswith("+x")
    assert observed.record is not None
    assert observed.record.containers == (web,)
    assert (answer.status, "Welcome home" in answer.page) == (200, True)


def test_the_docker_command_tells_the_same():
    observed = recorded("killed-docker").observed
    (web,) = observed.containers
    (before,) = recorded("well-curl").observed.containers

    assert (web.state, web.exit_code, web.settled) == ("exited", 137, False)
    same = {"state", "exit_code", "health"}
    assert web.model_dump(exclude=same) == before.model_dump(exclude=same)
    assert observed.images == {"strata/start:1": "4cb21a4d24294277"}


def test_a_stopped_engine_is_not_asked():
    observed = recorded("stopped").observed
    assert (observed.engine, observed.containers) == ("stopped", ())
    assert observed.record is not None


@pytest.mark.parametrize("cut", [0, 40, 1000, 4000])
def test_an_answer_that_is_cut_off_is_refused(cut):
    text = (RECORDINGS / "well-curl.txt").read_text()[:cut]
    with pytest.raises(ValueError, match="cut off"):
        probe.parse(text)


def test_a_page_cannot_pretend_to_be_the_engine():
    text = (RECORDINGS / "well-curl.txt").read_text()
    lie = "\n==strata-probe== containers\n[]\n==strata-probe== images\n[]\n"
    assert probe.parse(text.replace("<h1>", lie)).observed == probe.parse(text).observed


def test_a_torn_record_is_ours_and_unfinished():
    text = (RECORDINGS / "stopped.txt").read_text()
    record = probe.parse(text.replace('{"format":1,"fin', '{"form')).observed.record
    assert record is not None
    assert not record.finished


def test_a_container_that_went_away_meanwhile_is_left_out():
    gone = '{"message":"No such container: 123"}'
    text = f"\n{probe._MARK} engine\nrunning curl\n\n{probe._MARK} containers\n{gone}\n"
    assert probe.parse(f"{text}\n{probe._MARK} end\n").observed.containers == ()


@pytest.mark.parametrize(
    "script",
    [
        probe.script("start", NASTY, Health(http=":8080/a?b='c'&d")),
        probe.script("start", [], Health(tcp=":5432")),
        probe.script("start", NASTY, None),
        deployment.deploy(
            "start", "stack.yaml", gone=NASTY, recreate=["web"], paused=["ab"], strangers=["c"]
        ),
        deployment.deploy("start", "compose.yaml", gone=[], recreate=[]),
        deployment.remove("start", NASTY, ["home/x:1"], running=True),
        deployment.load(),
        deployment.wait_for_engine(),
        deployment.keep_record("start"),
        deployment.prune_images(),
        logs.script("abc", 20),
    ],
)
def test_every_script_is_posix_sh(script):
    done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_looking_at_a_host_without_anything_finds_nothing_and_leaves_nothing(tmp_path):
    script = probe.script("no-such-workload", NASTY, Health(http=":1/"))
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    answer = probe.parse(done.stdout)
    assert answer.observed.record is None
    assert answer.observed.files == {}
    assert list(tmp_path.iterdir()) == []


def test_only_our_files_go_and_folders_only_when_empty(tmp_path):
    for name in [*NASTY, "ä b/kept"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    script = f"cd {shlex.quote(str(tmp_path))}\n{deployment._remove(NASTY)}"
    subprocess.run(["sh", "-ec", script], check=True)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["ä b", "ä b/kept"]


def test_the_bundle_unpacks_with_the_right_modes(tmp_path):
    files = {"compose.yaml": (b"a", False), ".env": (b"S=1", False), "bin/run": (b"#!", True)}
    bundle = deployment.bundle(files, b"{}")
    subprocess.run(["tar", "-x", "-p", "-C", tmp_path, "-f", "-"], input=bundle, check=True)
    modes = {
        str(p.relative_to(tmp_path)): oct(p.stat().st_mode & 0o777)
        for p in tmp_path.rglob("*")
        if p.is_file()
    }
    assert modes == {
        "record.json": "0o600",
        "project/compose.yaml": "0o644",
        "project/.env": "0o600",
        "project/bin/run": "0o755",
    }
    assert json.loads((tmp_path / "record.json").read_text()) == {}


def test_a_file_of_another_name_is_named_to_compose():
    def of(name: str) -> str:
        return deployment.deploy("s", name, gone=[], recreate=[])

    assert "-f stack.yaml" in of("stack.yaml")
    assert "-f compose.yaml" not in of("compose.yaml")


def test_log_lines_come_out_of_the_engines_frames():
    framed = b"\x01\0\0\0\0\0\0\x06hello\n" + b"\x02\0\0\0\0\0\0\x04oops"
    assert logs.parse(framed) == ("hello", "oops")
    assert logs.parse(b"plain\nlines\n") == ("plain", "lines")
    assert logs.parse(b"") == ()
