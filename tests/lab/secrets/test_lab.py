"""A lab keeps secrets: who reads what, made once, rotated, never half written."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab
from lab.api import SavedPlan
from lab.api.secrets import Recipe
from lab.errors import ConfigError, LabError
from lab.secrets import age, editing, passwords
from lab.secrets.identities import standard_file
from lab.secrets.sops import document
from lab.secrets.sops.tree import tree_of

FILES = {
    "lab.yaml": "name: demo\nproviders: {box: {kind: memory}}\nvars: {psk: !secret wifi}\n"
    "capture: {repository: {url: captures, password: !secret restic}}\n",
    "personas/web.yaml": "purpose: a web\nimage: {base: debian-13}\n"
    "machine: {cpu: 1, memory: 1GiB, disks: {root: {size: 8GiB}}}\n"
    "vars: {db: {password: !secret db}}\nsystem: {packages: [curl]}\n",
    "personas/nas.yaml": "purpose: a nas\nextends: [web]\nvars: {share: !secret nas_share}\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"
    "  web2: {persona: web, provider: box, vars: {own: !secret only2}}\n"
    "  nas1: {persona: nas, provider: box}\n",
}
NAMES = ("wifi", "restic", "db", "nas_share", "only2")


@pytest.fixture
def root(lab_dir):
    return lab_dir(FILES)


@pytest.fixture
def keeper(root):
    """The secrets of the lab, loaded anew at every call."""

    def load():
        return Lab.load(root, secrets_may_lack=True).secrets

    return load


@pytest.fixture
def full(keeper):
    """Begun, and every secret made."""
    keeper().begin()
    for name in NAMES:
        keeper().generate(name, Recipe())
    return keeper


def readers(root, name):
    """Who can read a file: operators and hosts, by trying every key there is."""
    public = {"operator": standard_file().read_text().split("public key: ")[1].split()[0]}
    for path in (root / "secrets/hosts").glob("*.yaml"):
        public[path.stem] = document.read(path, path.name).tree.get("public")
    sealed = document.read(root / f"secrets/{name}.yaml", name)
    return {who for who, key in public.items() if key in sealed.meta.recipients}


def test_a_host_can_read_exactly_what_it_uses(full, root):
    assert {name: readers(root, name) for name in NAMES} == {
        "wifi": {"operator", "web1", "web2", "nas1"},
        "restic": {"operator"},
        "db": {"operator", "web1", "web2", "nas1"},
        "nas_share": {"operator", "nas1"},
        "only2": {"operator", "web2"},
    }


def test_each_hosts_own_key_really_opens_its_secrets_and_no_others(full, root, monkeypatch):
    private = {h: full().host_key(h) for h in ("web1", "web2", "nas1")}
    standard_file().unlink()
    for host, may in {"web1": {"wifi", "db"}, "nas1": {"wifi", "db", "nas_share"}}.items():
        monkeypatch.setenv("SOPS_AGE_KEY", private[host])
        opened = set()
        for name in NAMES:
            try:
                full().reveal(name)
                opened.add(name)
            except LabError:
                pass
        assert opened == may
        with pytest.raises(LabError):
            full().host_key("web2")


def test_a_file_of_many_secrets_is_for_hosts_that_use_all_of_them(full, root):
    for name in ("a", "b"):
        full().set(name, "value-of-it", "both.yaml")
    hosts = root / "inventory/hosts.yaml"
    hosts.write_text(FILES["inventory/hosts.yaml"].replace("own:", "a: !secret a, own:"))
    full().begin()
    assert readers(root, "both") == {"operator"}
    hosts.write_text(
        FILES["inventory/hosts.yaml"].replace("own:", "a: !secret a, b: !secret b, own:")
    )
    full().begin()
    assert readers(root, "both") == {"operator", "web2"}
    full().set("c", "another-value", "both.yaml")
    assert readers(root, "both") == {"operator"}, "web2 does not use c"


def test_beginning_again_changes_nothing(full, root):
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert full().begin() == []
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_what_is_made_is_made_once(full):
    value = full().reveal("db")
    assert full().generate("db", Recipe())[0] is False
    assert full().reveal("db") == value


def test_a_new_host_gets_a_key_and_reads_what_it_uses(full, root):
    hosts = root / "inventory/hosts.yaml"
    hosts.write_text(hosts.read_text() + "  web3: {persona: web, provider: box}\n")
    done = full().begin()
    assert "made the key of web3" in done
    assert "web3" in readers(root, "db")
    assert "web3" not in readers(root, "nas_share")


def test_a_host_that_left_reads_nothing_new(full, root):
    hosts = root / "inventory/hosts.yaml"
    key = full().host_key("web2")
    hosts.write_text("hosts:\n  web1: {persona: web, provider: box}\n")
    failed = [f for f in full().findings() if f.level == "fail"]
    assert any("web2" in f.detail and f.hint == "lab secrets rotate --keys" for f in failed)
    full().encrypt_anew()
    assert readers(root, "db") == {"operator", "web1"}
    sealed = document.read(root / "secrets/db.yaml", "db")
    mine = age.identities(key, "web2")
    assert all(age.unwrap(w.enc, mine) is None for w in sealed.meta.age)


def test_new_keys_change_no_value(full, root):
    before = {n: full().reveal(n) for n in NAMES}
    text = (root / "secrets/db.yaml").read_text()
    full().encrypt_anew()
    assert {n: full().reveal(n) for n in NAMES} == before
    new = (root / "secrets/db.yaml").read_text()
    assert not {x for x in text.split() if "ENC[" in x} & {x for x in new.split() if "ENC[" in x}


def test_rotating_makes_the_same_kind_again_and_tells_the_hosts(keeper):
    keeper().begin()
    keeper().generate("db", Recipe("hex", 20))
    old = keeper().reveal("db")
    assert keeper().rotate("db") == ("web1", "web2", "nas1")
    new = keeper().reveal("db")
    assert (len(new), new != old) == (40, True)
    assert keeper().recipe("db") == Recipe("hex", 20)


def test_rotating_a_password_makes_its_hash_anew(keeper):
    keeper().begin()
    made, _ = keeper().generate("db_hash", Recipe("password-hash", of="db"))
    assert made
    first = keeper().reveal("db_hash")
    assert set(keeper().rotate("db")) == {"web1", "web2", "nas1"}
    password, second = keeper().reveal("db"), keeper().reveal("db_hash")
    assert first != second
    assert passwords.sha512_crypt(password.encode(), second.split("$")[2]) == second


def test_a_given_secret_needs_its_new_value(full):
    full().set("restic", "typed-by-me")
    with pytest.raises(LabError, match="its new value is needed"):
        full().rotate("restic")
    assert full().rotate("restic", "typed-again") == ()
    assert full().reveal("restic") == "typed-again"


def test_setting_what_was_generated_forgets_how_it_was_made(full):
    full().set("db", "typed-by-me")
    assert full().recipe("db") is None


def test_the_public_half_of_a_key_is_readable_without_a_key(full, root, monkeypatch):
    _, public = full().generate("deploy", Recipe("ssh-key"))
    assert public.startswith("ssh-ed25519 ")
    assert public in (root / "secrets/deploy.yaml").read_text()
    monkeypatch.setenv("HOME", str(root))
    assert full().generate("deploy", Recipe("ssh-key")) == (False, public)


def test_a_name_that_would_stay_readable_is_refused(full):
    with pytest.raises(LabError, match="in clear"):
        full().set("api_public", "hunter2hunter2")


@pytest.mark.parametrize("name", ["", "sops", "sops_x", "a b", "../x", "-x", "x" * 101, "a/b"])
def test_a_wrong_name_is_refused(full, name):
    with pytest.raises(LabError, match="as the name of a secret"):
        full().set(name, "value")


@pytest.mark.parametrize("file", ["/etc/x.yaml", "../x.yaml", "hosts/web1.yaml", "x.txt", "x"])
def test_a_file_elsewhere_is_refused(full, file):
    with pytest.raises(LabError, match="Unable to use"):
        full().set("new", "value-of-it", file)


@pytest.mark.parametrize("file", ["house.yaml", "house.json", "house.env", "deep/er/house.yaml"])
@pytest.mark.parametrize("value", ["pass word", "two\nlines\n", "=#'\"", "007", "ü" * 50])
def test_any_value_comes_back_from_any_format(full, file, value):
    full().set("new", value, file)
    assert full().reveal("new") == value
    full().set("other", "x-y-z", file)
    assert full().reveal("new") == value


def test_nested_values_have_dotted_names_and_stay_where_they_are(full, root):
    full().set("x", "first-value", "app.json")
    path = root / "secrets/app.json"
    changes = full()._changes()
    doc = changes.store.opened(document.read(path, "secrets/app.json"))
    changes.replace(doc, tree_of({"db": {"user": "me-myself", "port": 5432}}))
    assert full().reveal("db.user") == "me-myself"
    assert full().reveal("db.port") == "5432"
    full().set("db.user", "somebody")
    assert json.loads(path.read_text())["db"]["user"].startswith("ENC[")
    assert (full().reveal("db.user"), full().reveal("db.port")) == ("somebody", "5432")


def test_a_secret_that_is_used_is_not_removed(full, root):
    with pytest.raises(LabError, match="web2 uses it"):
        full().remove("only2")
    with pytest.raises(LabError, match="the lab itself uses it"):
        full().remove("restic")
    full().set("old", "value-of-it")
    full().remove("old")
    assert not (root / "secrets/old.yaml").exists()


def test_files_are_written_whole_or_not_at_all(full, root, monkeypatch):
    path = root / "secrets/db.yaml"
    before = path.read_text()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(LabError, match=r"Unable to write .*no space"):
        full().set("db", "another-value")
    assert path.read_text() == before
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_kill_while_writing_leaves_the_old_file_or_the_new(full, root):
    code = (
        "import os, sys; from lab import Lab; from pathlib import Path\n"
        "real = Path.replace\n"
        "def kill(self, to):\n"
        "    real(self, to) if sys.argv[2] == 'after' else None\n"
        "    os.kill(os.getpid(), 9)\n"
        "Path.replace = kill\n"
        "Lab.load(sys.argv[1], secrets_may_lack=True).secrets.set('db', 'another-value')\n"
    )
    old = full().reveal("db")
    for when, expected in (("before", old), ("after", "another-value")):
        done = subprocess.run([sys.executable, "-c", code, str(root), when], check=False)
        assert done.returncode == -9
        assert full().reveal("db") == expected
    full().set("db", "third-value")
    assert full().reveal("db") == "third-value"
    assert [p.name for p in (root / "secrets").rglob(".*")] == []


def test_two_at_once_take_turns(full, root):
    code = (
        "import sys; from lab import Lab\n"
        "lab = Lab.load(sys.argv[1], secrets_may_lack=True)\n"
        "with lab.secrets._store.folder.held():\n    print('held', flush=True); input()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(LabError, match="another command"):
        full().set("db", "another-value")
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    full().set("db", "another-value")


def test_private_keys_are_for_their_owner_alone(full):
    assert stat.S_IMODE(standard_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(standard_file().parent.stat().st_mode) == 0o700


def test_beginning_keeps_the_keys_that_were_there(keeper, root):
    mine = age.new_key()
    standard_file().parent.mkdir(parents=True)
    standard_file().write_text(f"{mine.private}\n")
    (root / ".sops.yaml").write_text(f"creation_rules:\n  - age: {age.new_key().public}\n")
    keeper().begin()
    operators = (root / "secrets/operators.txt").read_text()
    assert mine.public in operators
    assert operators.count("age1") == 2, "who could read by upstream's rules still can"
    assert "creation_rules:\n  - age:" in (root / ".sops.yaml").read_text()


def test_somebody_without_access_is_told_whom_to_ask(full, root, monkeypatch):
    monkeypatch.setenv("SOPS_AGE_KEY", age.new_key().private)
    standard_file().unlink()
    with pytest.raises(LabError, match="not among the operators") as caught:
        full().begin()
    assert "operators.txt" in caught.value.hint


def test_colleagues_that_only_a_file_names_keep_reading_it_until_keys_are_rotated(full, root):
    other = age.new_key()
    path = root / "secrets/db.yaml"
    operators = root / "secrets/operators.txt"
    before = operators.read_text()
    operators.write_text(before + f"{other.public}  # my colleague\n")
    full().begin()
    operators.write_text(before)
    full().set("db", "another-value")
    assert other.public in document.read(path, "x").meta.recipients
    full().encrypt_anew()
    assert other.public not in document.read(path, "x").meta.recipients


def test_the_hosts_identity_survives_and_is_verified(full, root):
    key = full().host_key("web1")
    assert age.identities(key, "x")[0].recipient in (root / "secrets/hosts/web1.yaml").read_text()
    path = root / "secrets/hosts/web1.yaml"
    path.write_text(path.read_text().replace("public: age1", "public: age2"))
    with pytest.raises(LabError, match=r"secrets/hosts/web1\.yaml"):
        full().set("db", "another-value")


def test_the_doctor_is_content_and_then_is_not(full, root):
    assert [f for f in full().findings() if f.level != "pass"] == []
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "notes.txt").write_text(f"my key {age.new_key().private}\n")
    (root / "secrets/clear.yaml").write_text("password: hunter2\n")
    (root / "secrets/db.yaml").write_text((root / "secrets/db.yaml").read_text()[:-400])
    standard_file().chmod(0o644)
    full().set("unused", "value-of-it")
    full().set("pin", "137")
    hosts = root / "inventory/hosts.yaml"
    hosts.write_text(hosts.read_text().replace("own:", "more: !secret missing, own:"))
    found = {(f.level.value, f.what): f for f in full().findings()}
    for what in ("notes.txt", "secrets/clear.yaml", "secrets/db.yaml", "missing", "your key"):
        assert found["fail", what].hint, found
    assert "no host" in found["warn", "unused"].detail
    assert found["warn", "pin"].hint


def test_an_editor_sees_a_file_in_memory_for_this_user_alone(full, root, monkeypatch, tmp_path):
    log = tmp_path / "log"
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\nstat -c "%a %n" "$1" "$(dirname "$1")" >{log}; df --output=fstype "$1" | '
        f'tail -1 >>{log}\nsed -i "s/^db: .*/db: edited-value/" "$1"\necho "new: fresh" >>"$1"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    before = {p.name: p.read_text() for p in (root / "secrets").glob("*.yaml")}
    assert full().edit(None, lambda _: False) == ["secrets/db.yaml", "secrets/new.yaml"]
    assert full().reveal("db") == "edited-value"
    assert full().reveal("new") == "fresh"
    mode, folder, kind = log.read_text().splitlines()
    assert (mode[:3], folder[:3], kind) == ("600", "700", "tmpfs")
    assert not Path(mode[4:]).exists()
    for name in ("wifi.yaml", "restic.yaml"):
        assert (root / "secrets" / name).read_text() == before[name]


def test_a_wrong_text_goes_back_to_the_editor_or_changes_nothing(full, root, monkeypatch, tmp_path):
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\nif [ -e {tmp_path}/again ]; then sed -i "s/^.*\\[.*$//" "$1"; '
        f'else echo "x: [" >>"$1"; touch {tmp_path}/again; fi\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    told = []
    assert full().edit(None, lambda problem: told.append(problem) or True) == []
    assert "not YAML" in told[0]
    (tmp_path / "again").unlink()
    with pytest.raises(LabError, match="Nothing was"):
        full().edit("secrets/db.yaml", lambda _: False)
    assert not list(Path("/dev/shm").glob(f"strata-{os.getuid()}/*"))


def test_a_plain_file_is_encrypted_by_editing_it(full, root, monkeypatch):
    (root / "secrets/mine.yaml").write_text("# why\ntoken: hunter2hunter2\n")
    monkeypatch.setenv("EDITOR", "true")
    assert full().edit("secrets/mine.yaml", lambda _: False) == ["secrets/mine.yaml"]
    assert "hunter2" not in (root / "secrets/mine.yaml").read_text()
    assert full().reveal("token") == "hunter2hunter2"
    assert full().edit("secrets/mine.yaml", lambda _: False) == []


def test_an_editor_that_fails_changes_nothing(full, root, monkeypatch):
    before = (root / "secrets/db.yaml").read_text()
    for editor in ("false", "/no/such/editor"):
        monkeypatch.setenv("EDITOR", editor)
        with pytest.raises(LabError, match="Unable to edit"):
            full().edit("secrets/db.yaml", lambda _: False)
    assert (root / "secrets/db.yaml").read_text() == before


def test_what_a_killed_editor_left_is_swept_away(tmp_path):
    base = Path("/dev/shm") / f"strata-{os.getuid()}"
    left = base / "4194303999"
    left.mkdir(parents=True, mode=0o700)
    base.chmod(0o700)
    with editing.in_memory("x.yaml") as place:
        assert not left.exists()
        assert place.parent.parent == base
    assert not base.exists()


def test_without_memory_the_editor_does_not_open(monkeypatch):
    monkeypatch.setattr(editing, "is_in_memory", lambda _: False)
    with pytest.raises(LabError, match="no folder in memory"), editing.in_memory("x"):
        pass


def test_loading_a_lab_decrypts_nothing_and_names_what_lacks(full, root, monkeypatch):
    monkeypatch.setattr(age, "unwrap", lambda *_: pytest.fail("something was decrypted"))
    with Lab.load(root) as lab:
        shown = {s.path: str(s.value) for s in lab.show("web2")}
        lab.status()
    assert shown["vars.db.password"] == "(secret db)"
    assert shown["vars.own"] == "(secret only2)"
    (root / "secrets/db.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        Lab.load(root)
    problem = caught.value.problems[0]
    assert problem.where == "personas/web.yaml:4:23"
    assert problem.what.startswith("there is no secret 'db'")
    assert problem.what.endswith("To make it: lab secrets set db")


def test_a_broken_file_of_secrets_is_told_with_its_place(full, root):
    (root / "secrets/db.yaml").write_text("db: [\n")
    with pytest.raises(ConfigError) as caught:
        Lab.load(root)
    assert any(p.where == "secrets/db.yaml:2:1" for p in caught.value.problems)


def test_the_nearest_name_is_offered(full, root):
    (root / "lab.yaml").write_text(FILES["lab.yaml"].replace("!secret wifi", "!secret wfi"))
    with pytest.raises(ConfigError, match="did you mean 'wifi'"):
        Lab.load(root)


def test_a_secret_is_found_stale_in_a_saved_plan_and_is_in_none(full, root):
    with Lab.load(root) as lab:
        saved = lab.saved(lab.plan())
        lab.secrets.reveal("db")
    saved.write(root / "plan")
    full().set("db", "another-value")
    with Lab.load(root) as lab, pytest.raises(LabError, match="changed since it was made"):
        lab.apply(SavedPlan.read(root / "plan"))
    for name in NAMES:
        assert full().reveal(name) not in (root / "plan").read_text()


def test_a_lab_without_secrets_needs_no_library(lab_dir):
    root = lab_dir(
        {k: v.split("vars:")[0].split("capture:")[0] for k, v in FILES.items() if "hosts" not in k}
        | {"inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n"}
    )
    code = (
        "import sys; from lab import Lab\n"
        "with Lab.load(sys.argv[1]) as lab: lab.plan(); lab.status()\n"
        "assert not {'pyrage', 'cryptography'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


def test_a_new_value_leaves_its_hosts_pending_until_they_converged(full, root):
    def pending():
        with Lab.load(root) as lab:
            return {s.host for s in lab.status() for x in s.layers if x.standing == "pending"}

    with Lab.load(root) as lab:
        assert lab.converge().exit_code == 0
    assert pending() == set()
    full().set("nas_share", "another-value")
    assert pending() == {"nas1"}
    with Lab.load(root) as lab:
        assert lab.converge().exit_code == 0
    assert pending() == set()


def test_a_password_that_was_hashed_counts_as_used(full, root):
    hosts = root / "inventory/hosts.yaml"
    hosts.write_text(hosts.read_text().replace("own:", "hash: !secret ops_hash, own:"))
    full().generate("ops_hash", Recipe("password-hash", of="ops_password"))
    assert [f for f in full().findings() if f.level != "pass"] == []
