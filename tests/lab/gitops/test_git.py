"""S07: what a repository holds is data; it runs nothing and reads nothing outside itself."""

import subprocess
from pathlib import Path

import pytest

from lab.errors import ConfigError, DriverError, LabError
from lab.gitops import git
from lab.gitops.git import Repository, check_branch, check_url, without_login

URLS = [
    "ext::sh -c id",
    "ext::sh -c 'touch /tmp/x'",
    "fd::3",
    "-uid",
    "--upload-pack=id",
    "javascript://x",
    "ftp://host/x",
    "https://host/a b",
    "https://host/\nx",
    "",
]
BRANCHES = [
    "-d",
    "--all",
    "a..b",
    "a b",
    "a:b",
    "a^",
    "a~1",
    "x@{1}",
    "/a",
    "a/",
    "a.lock",
    "",
    "a\n",
]


@pytest.mark.parametrize("url", URLS)
def test_an_address_that_could_run_something_is_refused(url):
    with pytest.raises(ValueError, match=r"\w"):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://h/x.git", "ssh://git@h/x", "git@h:me/x.git", "/srv/x.git"]
)
def test_the_usual_addresses_are_taken(url):
    assert check_url(url) == url


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_never_becomes_an_option_or_a_range(name):
    with pytest.raises(ValueError, match="not the name of a branch"):
        check_branch(name)


def test_a_login_in_an_address_is_not_shown():
    assert without_login("https://me:secret@host/x") == "https://host/x"


@pytest.fixture
def repository(clone):
    clone.commit("first")
    clone.git("init", "-q", "--bare", "-b", "main", str(clone.bare))
    clone.push()
    return Repository(clone.bare)


def exported(clone, repository, tmp_path):
    commit = clone.commit()
    clone.push()
    folder = tmp_path / "out"
    repository.export(commit, folder)
    return folder


def test_the_files_of_a_commit_are_written_privately(clone, repository, tmp_path):
    folder = exported(clone, repository, tmp_path)
    assert (folder / "personas/web/motd").read_text() == "hello\n"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in tmp_path.glob("*.index")] == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "../../..", "/"])
@pytest.mark.parametrize("name", ["personas/web/motd", "personas/evil.yaml", "inventory/evil.yaml"])
def test_a_link_that_leads_out_is_refused_before_anything_is_read(
    clone, repository, tmp_path, name, target
):
    path = clone.root / name
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    with pytest.raises(ConfigError, match="a link that leads out of the lab") as caught:
        exported(clone, repository, tmp_path)
    assert caught.value.problems[0].where == f"{name}:1:1"


def test_a_link_through_a_link_is_refused_too(clone, repository, tmp_path):
    (clone.root / "a").symlink_to("b/c")
    (clone.root / "b").symlink_to("/etc")
    with pytest.raises(ConfigError, match="leads out"):
        exported(clone, repository, tmp_path)


def test_a_link_inside_the_lab_is_kept(clone, repository, tmp_path):
    (clone.root / "personas/db/motd").unlink()
    (clone.root / "personas/db/motd").symlink_to("../web/motd")
    folder = exported(clone, repository, tmp_path)
    assert (folder / "personas/db/motd").read_text() == "hello\n"


def test_a_submodule_is_not_fetched(clone, repository, tmp_path):
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    head = clone.git("rev-parse", "HEAD").stdout.strip()
    clone.write(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = {other}\n')
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{head},x")
    clone.git("add", ".gitmodules")
    clone.git("commit", "-qm", "a submodule")
    clone.push()
    repository.export(clone.git("rev-parse", "HEAD").stdout.strip(), tmp_path / "out")
    assert list((tmp_path / "out/x").glob("*")) == []


def test_a_filter_of_the_users_configuration_is_not_woken(clone, repository, tmp_path, monkeypatch):
    config = tmp_path / "gitconfig"
    config.write_text(f'[filter "evil"]\n\tsmudge = touch {tmp_path}/ran; cat\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    clone.write(".gitattributes", "* filter=evil\n")
    exported(clone, repository, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_pushers_configuration_changes_nothing(clone, repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {tmp_path}/ran")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor=touch {tmp_path}/ran'")
    assert (exported(clone, repository, tmp_path) / "lab.yaml").exists()
    assert not (tmp_path / "ran").exists()


def test_hooks_of_a_repository_do_not_run(clone, repository, tmp_path):
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        hook = clone.bare / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    commit = repository.head("main")
    (tmp_path / "ran").unlink(missing_ok=True)
    repository.export(commit, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["--help", "-1", "--output=/tmp/x", "no-such"])
def test_a_name_that_looks_like_an_option_names_nothing(repository, name):
    assert repository.commit(name) is None


def test_too_much_is_refused_before_it_is_written(clone, repository, tmp_path, monkeypatch):
    monkeypatch.setattr(git, "MAX_FILES", 3)
    with pytest.raises(ConfigError, match="a lab has at most 3 files"):
        exported(clone, repository, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_remote_that_is_none_is_told(repository, tmp_path):
    with pytest.raises(DriverError, match="Unable to fetch main"):
        repository.fetch(str(tmp_path / "nothing.git"), "main")


# -- signatures ------------------------------------------------------------------------------------


@pytest.fixture
def signer(clone, tmp_path):
    """An SSH key that signs, and a file that lists it."""
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(key))):
        clone.git("config", name, value)
    signers = tmp_path / "signers"
    signers.write_text(f"me@example.org {Path(f'{key}.pub').read_text()}")
    return signers


def test_a_commit_signed_by_a_listed_key_is_accepted(clone, repository, signer):
    commit = clone.commit("signed", "-S")
    clone.push()
    repository.verify(commit, signer)


def test_a_commit_without_a_signature_is_refused(clone, repository, signer):
    commit = clone.commit("not signed")
    clone.push()
    with pytest.raises(LabError, match="Unable to accept the commit"):
        repository.verify(commit, signer)


def test_a_commit_signed_by_another_key_is_refused(clone, repository, signer, tmp_path):
    commit = clone.commit("signed", "-S")
    clone.push()
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    signer.write_text(f"me@example.org {Path(f'{other}.pub').read_text()}")
    with pytest.raises(LabError, match="Unable to accept the commit"):
        repository.verify(commit, signer)


def test_a_push_that_is_not_signed_is_refused_by_the_hook(clone, signer):
    clone.commit("first", "-S")
    clone.install("--signers", str(signer))
    assert "Applied:" in clone.push().said
    clone.edit("personas/web.yaml", "[curl]", "[curl, htop]")
    shown = clone.pushed(ok=(1,))
    assert "only commits signed by a key in" in " ".join(shown.said.split())
    assert clone.packages("web1") == {"curl"}
