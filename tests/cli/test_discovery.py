"""``lab entropy`` and ``lab adopt`` from the command line's end."""

import json
from dataclasses import replace

import pytest

from lab.api import SurveyReport


def test_something_undeclared_is_exit_code_2(lab, run):
    lab.surveyed = replace(lab.surveyed, run=replace(lab.surveyed.run, parts=()))
    result = run("entropy")
    assert result.code == 2
    assert "nas1  entropy 25" in result.out
    assert "accepted.yaml" in result.err


def test_nothing_undeclared_is_exit_code_0(lab, run):
    lab.surveyed = SurveyReport(replace(lab.surveyed.run, parts=()), {"web1": ()})
    assert run("entropy").code == 0


def test_a_host_that_is_off_is_exit_code_6(lab, run):
    result = run("entropy")
    assert result.code == 6
    assert "192.0.2.8 port 22 does not answer" in result.out


def test_entropy_as_json_is_one_document(lab, run):
    document = json.loads(run("entropy", "--json").out)
    assert document["schema"] == "lab.entropy/1"
    hosts = {h["host"]: h for h in document["hosts"]}
    assert hosts["nas1"]["entropy"] == 25
    things = hosts["nas1"]["undeclared"]
    assert sum(t["weight"] for t in things) == 25
    assert [t["name"] for t in things if t["accepted"]] == ["vendor-agent"]
    assert hosts["off1"]["entropy"] is None
    assert "does not answer" in hosts["off1"]["failure"]
    assert document["unused"][0]["where"] == "accepted.yaml:7:5"


def test_accepted_things_are_shown_when_asked_for(lab, run):
    assert "vendor-agent" not in run("entropy").out
    assert "the vendor insists on it" in run("entropy", "--all").out


def test_selectors_reach_the_survey(lab, run):
    run("entropy", "host=nas1", "--jobs", "2")
    assert lab.calls[0] == ("survey", {"selectors": ("host=nas1",), "jobs": 2})


def test_adopting_passes_the_login_on(lab, run):
    result = run("adopt", "host=nas1", "address=me@nas.lan:2222", "--persona", "nas",
                 "--host-key", "ssh-ed25519 AAAA", "--sudo-password", "of_me")  # fmt: skip
    assert result.code == 0
    verb, asked = lab.calls[0]
    login = asked["login"]
    assert (verb, asked["host"], asked["persona"]) == ("adopt", "nas1", "nas")
    assert (login.user, login.address, login.port) == ("me", "nas.lan", 2222)
    assert (login.host_key, login.sudo_password) == ("ssh-ed25519 AAAA", "of_me")
    assert "lab entropy host=nas1" in result.err


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.9", ("root", "192.0.2.9", 22)),
        ("root@192.0.2.9:2222", ("root", "192.0.2.9", 2222)),
        ("me@[fd00::9]:2222", ("me", "fd00::9", 2222)),
        ("fd00::9", ("root", "fd00::9", 22)),
        ("local", ("root", "local", 22)),
    ],
)
def test_addresses(lab, run, address, expected):
    assert run("adopt", "host=nas1", f"address={address}").code == 0
    login = lab.calls[0][1]["login"]
    assert (login.user, login.address, login.port) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["host=nas1"], "address=root@192.0.2.9 is missing"),
        (["address=nas"], "host=NAME is missing"),
        (["nas1"], "neither host=NAME nor address="),
        (["host=nas1", "address=a b"], "is not an address"),
        (["host=nas1", "address=me@"], "is not an address"),
    ],
)
def test_a_wrong_word_is_told(lab, run, words, said):
    result = run("adopt", *words)
    assert result.code == 3
    assert said in result.err


def test_adopting_as_json_and_changes_that_remain(lab, run, scene):
    lab.taken = replace(lab.taken, plan=scene.harmless("nas1"))
    result = run("adopt", "host=nas1", "address=nas", "--json")
    document = json.loads(result.out)
    assert result.code == document["exit_code"] == 2
    assert (document["schema"], document["changes"]) == ("lab.adopt/1", 1)
    assert "mend the persona" in run("adopt", "host=nas1", "address=nas").err


def test_a_dry_run_shows_the_persona(lab, run):
    result = run("adopt", "host=nas1", "address=nas", "--dry-run")
    assert result.code == 0
    assert "packages: [htop]" in result.out
    assert "without --dry-run" in result.err
