"""What is on a machine and in no file: read from recordings of real machines, judged purely."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.model.baseline import Account as ImageAccount
from lab.model.baseline import Baseline
from lab.model.undeclared import Sort
from layers.l3_system.kinds.kind import Place, Wanted
from layers.l3_system.kinds.order import KINDS
from layers.l3_system.spec import Spec
from layers.l3_system.survey import describing
from layers.l3_system.survey.describing import Kept
from layers.l3_system.survey.facts import Account, Facts, File, Listener, read
from layers.l3_system.survey.judging import Lab, undeclared
from layers.l3_system.survey.keys import key_of, title_of
from layers.l3_system.survey.packages import Package, chosen, dependencies
from layers.l3_system.survey.script import script
from layers.l3_system.survey.suspicion import looks_secret

RECORDINGS = Path(__file__).parent / "recordings"
BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIOPUo1IbHdTmUgUUdJHzaXLkVnSMPlsVBmu7mCcHn1qG"
KEY = f"ssh-ed25519 {BLOB} bob@laptop"


def recorded(name):
    facts = read("NONCE", (RECORDINGS / f"{name}.txt").read_bytes())
    assert facts is not None
    return facts


def lab(spec=None, **more):
    spec = Spec.model_validate(spec or {})
    here = Place("nas1")
    return Lab(spec, {k.NAME: k.wanted(spec, here) for k in KINDS}, **more)


def told(facts, said=None, **more):
    return {(t.sort, t.name) for t in undeclared(facts, lab(said, **more))}


def names(facts, sort, said=None, **more):
    return {name for s, name in told(facts, said, **more) if s is sort}


def file(size=10, kind="f", leads_to=""):
    return File(kind, size, "0644", "root", "root", leads_to)


def person(uid=1500, groups=(), keys=(), gid=1500):
    return Account(uid, gid, "", "/home/x", "/bin/bash", tuple(groups), tuple(keys))


# -- reading ------------------------------------------------------------------------------------


def test_an_answer_that_is_cut_short_is_no_answer():
    whole = (RECORDINGS / "bare.txt").read_bytes()
    assert read("NONCE", whole) is not None
    assert read("NONCE", whole[: whole.index(b"NONCE\tend")]) is None
    assert read("OTHER", whole) is None


def test_a_real_machine_is_read_whole():
    facts = recorded("snowflake")
    assert facts.hostname == "shop1"
    assert facts.container
    assert facts.measured
    assert facts.changed == dict.fromkeys(
        ("/etc/motd", "/etc/nginx/nginx.conf", "/etc/ssh/sshd_config"), "changed"
    )
    assert facts.users["bob"] == Account(
        1500, 1500, "", "/home/bob", "/bin/bash", ("sudo",), (KEY,)
    )
    assert Listener("tcp", "0.0.0.0", 8080, "nginx", "nginx.service") in facts.ports
    assert facts.unowned["/etc/nginx/sites-enabled/shop"].leads_to == "../sites-available/shop"
    assert facts.unit_files["tick.timer"] == ("enabled", "enabled")
    assert facts.setuid == ("/usr/local/bin/rootme",)
    assert facts.packages["nginx"].needs


def test_a_removed_configuration_file_is_told_from_a_changed_one():
    answer = (
        b"\nN\tchanged\n/etc/a: FAILED\n/etc/b: FAILED open or read\n"
        b"md5sum: WARNING: 1 computed checksum did NOT match\n\nN\tend\n"
    )
    facts = read("N", answer)
    assert facts.changed == {"/etc/a": "changed", "/etc/b": "removed"}


def test_running_out_of_time_while_measuring_is_known():
    assert not read("N", b"\nN\tsizes\n4\t/srv/a\n\nN\tsizes-end\t124\n\nN\tend\n").measured


@given(st.binary(max_size=400))
def test_no_answer_breaks_the_reader(noise):
    read("N", noise)


# -- judging ------------------------------------------------------------------------------------


def test_a_machine_that_nobody_touched_since_it_was_made_has_only_what_its_maker_put_there():
    facts = recorded("bare")
    assert names(facts, Sort.PACKAGE) == {"curl", "gnupg", "iptables", "opendoas", "python3-apt"}
    assert names(facts, Sort.FILE) == {"/etc/docker/daemon.json"}
    assert not names(facts, Sort.CONFFILE)
    assert not names(facts, Sort.PORT)
    assert not names(facts, Sort.MOUNT)


def test_every_thing_that_was_done_to_a_snowflake_is_named():
    found = told(recorded("snowflake"), login="strata")
    assert found >= {
        (Sort.DIRECTORY, "/srv/shop"),
        (Sort.USER, "app"),
        (Sort.USER, "bob"),
        (Sort.KEY, f"bob: {title_of(KEY)}"),
        (Sort.SUDOERS, "/etc/sudoers.d/bob"),
        (Sort.SETUID, "/usr/local/bin/rootme"),
        (Sort.UNIT, "hello.service"),
        (Sort.UNIT, "tick.timer"),
        (Sort.UNIT, "tick.service"),
        (Sort.CRON, "/etc/cron.d/tick"),
        (Sort.CRON, "/var/spool/cron/crontabs/bob"),
        (Sort.PORT, "tcp 80"),
        (Sort.PORT, "tcp 8080"),
        (Sort.SOURCE, "/etc/apt/sources.list.d/x.list"),
        (Sort.PACKAGE, "nginx"),
        (Sort.PACKAGE, "htop"),
        (Sort.CONFFILE, "/etc/motd"),
        (Sort.CONFFILE, "/etc/nginx/nginx.conf"),
        (Sort.CONFFILE, "/etc/ssh/sshd_config"),
        (Sort.FILE, "/etc/app.conf"),
        (Sort.FILE, "/usr/local/bin/tick"),
        (Sort.FILE, "/etc/nginx/sites-available/shop"),
        (Sort.SYSCTL, "/etc/sysctl.d/99-mine.conf"),
        (Sort.GROUP, "media"),
    }
    assert (Sort.USER, "strata") not in found  # we log in as it: the inventory names it
    assert (Sort.PACKAGE, "nginx-common") not in found  # it came along


def test_what_is_declared_is_no_news():
    said = {
        "packages": ["nginx", "htop", "ncdu", "tmux", "rsync"],
        "users": {"bob": {"groups": ["sudo"]}, "app": {}},
        "groups": {"media": {}},
        "files": {
            p: {"content": ""}
            for p in ("/etc/motd", "/etc/cron.d/tick", "/etc/sysctl.d/99-mine.conf",
                      "/etc/systemd/system/tick.timer")
        },
        "services": {"nginx": "running", "getty@tty1": "stopped"},
    }  # fmt: skip
    found = told(recorded("snowflake"), said)
    gone = {name for _, name in told(recorded("snowflake"))} - {name for _, name in found}
    assert gone >= {"nginx", "htop", "bob", "app", "media", "/etc/motd", "/etc/cron.d/tick",
                    "/etc/sysctl.d/99-mine.conf", "tcp 80", "getty@tty1.service"}  # fmt: skip
    assert (Sort.KEY, f"bob: {title_of(KEY)}") in found  # the user is declared, its key is not


def test_what_our_own_record_holds_is_for_the_plan_to_tell():
    facts = Facts(
        users={"bob": person()},
        unowned={"/etc/x": file()},
        brought=frozenset(),
        owned={"user bob": "made", "file /etc/x": "made"},
    )
    assert not told(facts)


def test_what_other_layers_account_for_is_no_news():
    facts = Facts(
        users={"me": person(keys=[KEY])},
        unowned={"/etc/cloud/x.cfg": file()},
        sizes={"/srv/start": 10**9, "/srv/other": 10**9},
    )
    known = frozenset(
        {
            (Sort.USER, "me"),
            (Sort.KEY, BLOB),
            (Sort.FILE, "/etc/cloud/*"),
            (Sort.DIRECTORY, "/srv/start"),
        }
    )
    assert told(facts, known=known) == {(Sort.DIRECTORY, "/srv/other")}


IMAGE = Baseline(
    complete=True,
    packages={"curl": "1", "cron": "1"},
    users={"www": ImageAccount(uid=1001, gid=1001, home="/", shell="/bin/sh", groups=("adm",))},
    groups={"old": 1200},
    units={"a.service": "enabled", "b.service": "masked"},
    conffiles={"/etc/changed-in-image": "00"},
)


def test_with_a_recorded_image_its_own_things_are_the_measure():
    facts = Facts(
        packages={
            "curl": Package("optional", False, "1"),
            "htop": Package("important", False, "2"),
        },
        changed={"/etc/changed-in-image": "changed", "/etc/other": "changed"},
        users={"www": person(1001, ["adm", "docker"])},
        groups={"old": 1200, "new": 1201},
        unit_files={"a.service": ("enabled", "disabled"), "c.service": ("enabled", "disabled")},
        unowned={
            "/etc/systemd/system/b.service": file(0, "l", "/dev/null"),
            "/etc/systemd/system/d.service": file(0, "l", "/dev/null"),
        },
    )
    assert told(facts, baseline=IMAGE) == {
        (Sort.PACKAGE, "htop"),
        (Sort.MISSING, "cron"),
        (Sort.CONFFILE, "/etc/other"),
        (Sort.MEMBER, "www in docker"),
        (Sort.GROUP, "new"),
        (Sort.UNIT, "c.service"),
        (Sort.UNIT, "d.service"),
    }


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            Facts(users={"toor": person(0)}, brought=frozenset({"toor"})),
            {(Sort.USER, "toor")},
            id="a second root",
        ),
        pytest.param(
            Facts(users={"nobody": person(65534)}, brought=frozenset({"nobody"})),
            set(),
            id="nobody is no stranger",
        ),
        pytest.param(
            Facts(users={"postgres": person(103)}, brought=frozenset({"postgres"})),
            set(),
            id="a package's user",
        ),
        pytest.param(
            Facts(users={"root": person(0, keys=[KEY])}),
            {(Sort.KEY, f"root: {title_of(KEY)}")},
            id="a key of root",
        ),
        pytest.param(
            Facts(ports=(Listener("tcp", "127.0.0.1", 5432, "postgres", "x.service"),)),
            set(),
            id="a port for this machine alone",
        ),
        pytest.param(
            Facts(ports=(Listener("tcp", "*", 9000, "python3", "session-1.scope"),)),
            {(Sort.PORT, "tcp 9000")},
            id="a program that somebody left running",
        ),
        pytest.param(
            Facts(ports=(Listener("tcp", "*", 80, "httpd", f"docker-{'0' * 64}.scope"),)),
            set(),
            id="a container's port is told with the container",
        ),
        pytest.param(
            Facts(
                table={
                    "/": ("a", "ext4", "x"),
                    "none": ("b", "swap", "x"),
                    "/media/music": ("nas:/music", "nfs", "x"),
                }
            ),
            {(Sort.MOUNT, "/media/music")},
            id="a line of fstab",
        ),
        pytest.param(
            Facts(mounted={"/mnt": ("nas:/x", "nfs4", "x"), "/proc": ("proc", "proc", "x")}),
            {(Sort.MOUNT, "/mnt")},
            id="mounted by hand",
        ),
        pytest.param(
            Facts(container=True, mounted={"/data": ("/dev/vda", "ext4", "x")}),
            set(),
            id="a container's mounts are its engine's",
        ),
        pytest.param(
            Facts(modules=("br_netfilter",)), {(Sort.MODULE, "br_netfilter")}, id="a module"
        ),
        pytest.param(
            Facts(
                sources=(
                    "deb http://deb.example/debian/ trixie main",
                    "deb [signed-by=/x] https://pkgs.example/stable ./",
                )
            ),
            {(Sort.SOURCE, "https://pkgs.example/stable")},
            id="an archive that is not the distribution's",
        ),
        pytest.param(
            Facts(sizes={"/srv/a": 2**21, "/srv/b": 4096, "/var/lib/c": 2**21, "/root": 2**30}),
            {(Sort.DIRECTORY, "/srv/a"), (Sort.DIRECTORY, "/root")},
            id="data: little where it is meant to be, much elsewhere",
        ),
        pytest.param(
            Facts(unit_files={"run-x.service": ("transient", "")}),
            {(Sort.UNIT, "run-x.service")},
            id="a transient unit",
        ),
        pytest.param(
            Facts(
                unowned={
                    "/etc/alternatives/x": file(),
                    "/etc/y": file(0, "l", "/etc/alternatives/y"),
                    "/etc/ssh/ssh_host_ed25519_key": file(),
                }
            ),
            set(),
            id="what Debian makes itself",
        ),
        pytest.param(
            Facts(
                unowned={"/etc/ssh/sshd_config": file()},
                managed=frozenset({"/etc/ssh/sshd_config"}),
            ),
            set(),
            id="what ucf manages",
        ),
    ],
)
def test_each_sort(facts, expected):
    assert told(facts) == expected


def test_the_lab_s_own_key_lets_its_login_in_and_nobody_else():
    facts = Facts(users={"strata": person(1000, keys=[KEY]), "root": person(0, keys=[KEY])})
    found = names(facts, Sort.KEY, login="strata", keys=frozenset({BLOB}))
    assert found == {f"root: {title_of(KEY)}"}


def test_a_declared_key_is_known_whatever_its_comment():
    declared = {"user": {"bob": Wanted({"authorized_keys": [f"ssh-ed25519 {BLOB} other"]})}}
    facts = Facts(users={"bob": person(keys=[KEY])})
    assert not undeclared(facts, Lab(Spec(), declared))


def test_what_stands_for_a_declared_thing_of_another_name_is_no_news():
    declared = {"sysctl": {"vm.swappiness": Wanted({})}, "repository": {"vendor": Wanted({})}}
    ours = (
        "/etc/sysctl.d/90-strata-vm.swappiness.conf",
        "/etc/apt/keyrings/vendor.asc",
        "/etc/apt/sources.list.d/vendor.sources",
    )
    theirs = "/etc/apt/sources.list.d/other.sources"
    facts = Facts(unowned={path: file() for path in (*ours, theirs)})
    (thing,) = undeclared(facts, Lab(Spec(), declared))
    assert thing.name == theirs


# -- packages and keys --------------------------------------------------------------------------


def packages(**needs):
    return {
        name: Package("optional", False, "1", dependencies(text)) for name, text in needs.items()
    }


def test_only_what_nothing_else_brings_was_chosen():
    there = packages(app="lib (>= 1) | other, common", common="", lib="", tool="", base="")
    everything = set(there)
    assert chosen(there, ["base"], everything) == ["app", "tool"]
    assert chosen(there, ["base", "app"], everything) == ["tool"]


def test_packages_that_need_each_other_are_named_once():
    there = packages(a="b", b="a")
    assert len(chosen(there, [], {"a", "b"})) == 1


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.lists(st.sampled_from("abcdefgh"), max_size=3).map(", ".join),
        max_size=8,
    )
)
def test_installing_what_was_chosen_brings_everything_back(needs):
    there = packages(**needs)
    named = chosen(there, [], set(there))
    again, waiting = set(), list(named)
    while waiting:
        name = waiting.pop()
        if name in there and name not in again:
            again.add(name)
            waiting += [n for group in there[name].needs for n in group]
    assert again == set(there)


@pytest.mark.parametrize(
    ("line", "blob"),
    [
        (f"ssh-ed25519 {BLOB}", BLOB),
        (f'restrict,command="echo hi" ssh-ed25519 {BLOB} me', BLOB),
        ("# a comment", ""),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_the_key_within_a_line(line, blob):
    assert key_of(line) == blob


# -- what is not copied -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/ssl/private/shop.key", b"x"),
        ("/etc/app.conf", b"password = hunter22\n"),
        ("/etc/app.conf", b'{"api_key": "abc123"}'),
        ("/etc/app.yaml", b"db:\n  token: abcdef\n"),
        ("/etc/x.pem", b"-----BEGIN RSA PRIVATE KEY-----\n"),
        ("/etc/x.conf", b"url = https://me:secret1@example.org/\n"),
        ("/etc/x.conf", b"root:$6$saltsalt$abcdefghijklmnop:1::\n"),
        ("/etc/wireguard/wg0.conf", b"[Interface]\n"),
        ("/etc/x.dat", b"a\0b"),
        ("/etc/x.dat", b"\xff\xfe"),
        ("/etc/cron.d/backup", b"RESTIC_PASSWORD=abcdef\n"),
    ],
)
def test_what_may_be_a_secret_is_not_copied(path, content):
    assert looks_secret(path, content)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/ssh/sshd_config", b"PasswordAuthentication no\nPermitEmptyPasswords no\n"),
        ("/etc/nsswitch.conf", b"passwd:         files systemd\nshadow: files\n"),
        ("/etc/nginx/nginx.conf", b"worker_connections 1024;\n# token buckets\n"),
        ("/etc/systemd/system/a.service", b"[Service]\nExecStart=/bin/true\n"),
    ],
)
def test_ordinary_configuration_is(path, content):
    assert looks_secret(path, content) == ""


# -- describing ---------------------------------------------------------------------------------


def kept(content=b"x\n", **more):
    values = {"mode": "0644", "owner": "root", "group": "root", **more}
    return Kept(size=len(content), content=content, **values)


def describe(facts, files=None, name="shop1", **more):
    return describing.described(facts, files or {}, lab(**more), name)


def test_a_snowflake_in_the_words_of_a_persona():
    facts = recorded("snowflake")
    here = lab(login="strata")
    wanted = describing.paths(facts, here)
    files = {p: kept() for p in wanted} | {"/etc/sudoers.d/bob": kept(mode="0440")}
    said = describing.described(facts, files, here, "shop1")
    system = said.sections["system"]
    assert "hostname" not in system
    assert set(system["packages"]) >= {"nginx", "htop", "curl"}
    assert system["users"]["bob"] == {
        "uid": 1500,
        "shell": "/bin/bash",
        "groups": ["sudo"],
        "authorized_keys": ["keys/bob.pub"],
    }
    assert said.files["keys/bob.pub"] == f"{KEY}\n".encode()
    assert system["files"]["/etc/sudoers.d/bob"] == {"source": "etc/sudoers.d/bob", "mode": "0440"}
    assert system["files"]["/etc/nginx/nginx.conf"] == {"source": "etc/nginx/nginx.conf"}
    assert system["services"]["nginx"] == "running"
    assert system["services"]["tick.timer"] == "running"
    assert system["services"]["getty@tty1"] == {"masked": True}
    assert "tick" not in system["services"]  # static: its timer starts it
    assert system["links"] == {
        "/etc/nginx/sites-enabled/shop": {"target": "../sites-available/shop"}
    }
    assert "/srv/shop" in dict(said.left)
    assert "/etc/ssl/private/shop.key" not in system["files"]
    Spec.model_validate({k: v for k, v in system.items() if k not in {"users", "files"}})


def test_another_name_in_the_lab_keeps_the_host_s_own_one():
    assert describe(Facts(hostname="old"), name="new").sections["system"] == {"hostname": "old"}


def test_an_ordinary_machine_needs_nothing_said():
    assert describe(Facts(hostname="shop1")).sections == {}


def test_a_unit_that_fails_is_left_out_with_the_reason():
    facts = Facts(
        hostname="shop1",
        unowned={"/etc/systemd/system/bad.service": file()},
        unit_files={"bad.service": ("enabled", "enabled")},
        units={"bad.service": "failed"},
    )
    said = describe(facts, {"/etc/systemd/system/bad.service": kept()})
    assert "services" not in said.sections["system"]
    assert dict(said.left)["bad.service"].startswith("it is failed")


@pytest.mark.parametrize(
    ("state", "enabled", "said"),
    [
        ("active", "enabled", "running"),
        ("inactive", "disabled", "stopped"),
        ("inactive", "enabled", {"state": "stopped", "enabled": True}),
        ("active", "disabled", {"state": "running", "enabled": False}),
        ("inactive", "masked", {"masked": True}),
    ],
)
def test_units_are_declared_as_they_stand(state, enabled, said):
    facts = Facts(
        hostname="shop1",
        unowned={"/etc/systemd/system/a.service": file()},
        unit_files={"a.service": (enabled, "enabled")},
        units={"a.service": state},
    )
    assert describe(facts).sections["system"]["services"] == {"a": said}


def test_a_mount_with_a_password_in_its_options_is_left_out():
    row = ("//nas/x", "cifs", "rw,password=hunter22")
    facts = Facts(hostname="shop1", table={"/x": row}, mounted={"/x": row})
    said = describe(facts)
    assert said.sections == {}
    assert "secret" in dict(said.left)["/x"]
    fine = ("nas:/x", "nfs", "ro,nofail")
    facts = replace(facts, table={"/x": fine}, mounted={"/x": fine})
    assert describe(facts).sections["system"]["mounts"] == {
        "/x": {"source": "nas:/x", "type": "nfs", "options": "ro,nofail"}
    }


def test_a_configuration_file_that_somebody_removed_is_declared_absent():
    facts = Facts(hostname="shop1", changed={"/etc/x": "removed", "/etc/y": "changed"})
    assert describe(facts).sections == {"system": {"absent": ["/etc/x"]}}


def test_files_of_somebody_without_a_proper_name_are_left_out():
    facts = Facts(hostname="shop1", unowned={"/etc/x": file()})
    said = describe(facts, {"/etc/x": kept(owner="UNKNOWN")})
    assert said.sections == {}
    assert "UNKNOWN" in dict(said.left)["/etc/x"]


def test_the_files_that_travel_are_read_back_byte_for_byte():
    answer = b"\nN\tkept\t640\troot\tadm\t6\t/etc/a b\nx\n\ny\n\n\nN\tend\n"
    assert describing.fetched("N", answer) == {
        "/etc/a b": Kept("0640", "root", "adm", 6, b"x\n\ny\n\n")
    }


def test_scripts_are_plain_sh(tmp_path):
    import subprocess

    for number, text in enumerate(
        (script("N", ["/srv/it's here"]), describing.fetching("N", ["/etc/it's"]))
    ):
        path = tmp_path / f"{number}.sh"
        path.write_text(text)
        done = subprocess.run(["dash", "-n", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_yaml_of_a_description_is_plain_data():
    said = describe(recorded("snowflake"), login="strata")
    assert yaml.safe_load(yaml.safe_dump(dict(said.sections))) == dict(said.sections)
