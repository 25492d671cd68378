"""Looking at real machines: nothing is changed by it, and nothing done by hand is overlooked."""

import pytest

from lab import Lab
from lab.api import Login
from lab.errors import ConfigError
from lab.model.outcome import ExitCode
from lab.model.undeclared import Sort

pytestmark = pytest.mark.engine

EMPTY = {
    "lab.yaml": "name: survey\nproviders:\n  there: {kind: existing}\n",
    "inventory/hosts.yaml": "# the hosts\nhosts:\n  # none yet, but one\n"
    "  other: {persona: other, provider: there, address: 192.0.2.1}\n",
    "personas/other.yaml": "purpose: an appliance\nsystem: none\n",
}
HASHES = r"""
{ find / -xdev -type f ! -path '/proc/*' ! -path '/sys/*' ! -path '/run/*' ! -path '/tmp/*' \
    ! -path '/var/log/*' ! -path '/var/lib/systemd/*' -printf '%p %s %m %u %g %T@\n' | sort
  dpkg-query -W; cat /etc/passwd /etc/group; systemctl list-unit-files --no-legend
} | sha256sum
"""
BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIOPUo1IbHdTmUgUUdJHzaXLkVnSMPlsVBmu7mCcHn1qG"
SNOWFLAKE = f"""
set -e
useradd -m -u 1500 -s /bin/bash -G sudo bob
mkdir -m 700 /home/bob/.ssh
echo 'ssh-ed25519 {BLOB} bob@laptop' >/home/bob/.ssh/authorized_keys
chown -R bob: /home/bob/.ssh
groupadd -g 1700 media
useradd -r -s /usr/sbin/nologin handmade
echo 'bob ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/bob; chmod 440 /etc/sudoers.d/bob
echo '# edited by hand' >>/etc/sudo.conf
echo 'welcome' >/etc/motd; rm /etc/update-motd.d/10-uname; ln -s /srv/shop /etc/shop
echo 'colour = blue' >/etc/shop.conf
echo 'token = abcdef123456' >/etc/app.conf
printf 'a\\0b' >/etc/binary.dat
echo 'vm.swappiness = 10' >/etc/sysctl.d/99-mine.conf
echo '17 3 * * * root /bin/true' >/etc/cron.d/tick
mkdir -p /var/spool/cron/crontabs
echo '5 4 * * * /bin/true' >/var/spool/cron/crontabs/bob
chown bob:crontab /var/spool/cron/crontabs/bob; chmod 600 /var/spool/cron/crontabs/bob
printf '#!/bin/sh\\ndate\\n' >/usr/local/bin/tick; chmod 755 /usr/local/bin/tick
cp /bin/true /usr/local/bin/rootme; chmod 4755 /usr/local/bin/rootme
printf '[Service]\\nType=oneshot\\nExecStart=/usr/local/bin/tick\\n' \\
  >/etc/systemd/system/tick.service
printf '[Timer]\\nOnCalendar=daily\\n[Install]\\nWantedBy=timers.target\\n' \\
  >/etc/systemd/system/tick.timer
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \\
  >/etc/systemd/system/hello.service
systemctl daemon-reload; systemctl -q enable --now tick.timer hello.service
echo 'deb https://pkgs.example/stable ./' >/etc/apt/sources.list.d/x.list
mkdir -p /srv/shop; head -c 3000000 /dev/urandom >/srv/shop/data
systemd-run --quiet --unit=left-running python3 -m http.server 8099
for i in 1 2 3 4 5 6 7 8 9; do ss -Hlnt | grep -q :8099 && break; sleep 0.5; done
"""
PLANTED = {
    (Sort.USER, "bob"),
    (Sort.USER, "handmade"),
    (Sort.GROUP, "media"),
    (Sort.SUDOERS, "/etc/sudoers.d/bob"),
    (Sort.CONFFILE, "/etc/sudo.conf"),
    (Sort.CONFFILE, "/etc/motd"),
    (Sort.CONFFILE, "/etc/update-motd.d/10-uname"),
    (Sort.FILE, "/etc/shop.conf"),
    (Sort.FILE, "/etc/shop"),
    (Sort.FILE, "/etc/app.conf"),
    (Sort.FILE, "/etc/binary.dat"),
    (Sort.FILE, "/usr/local/bin/tick"),
    (Sort.SYSCTL, "/etc/sysctl.d/99-mine.conf"),
    (Sort.CRON, "/etc/cron.d/tick"),
    (Sort.CRON, "/var/spool/cron/crontabs/bob"),
    (Sort.SETUID, "/usr/local/bin/rootme"),
    (Sort.UNIT, "tick.service"),
    (Sort.UNIT, "tick.timer"),
    (Sort.UNIT, "hello.service"),
    (Sort.UNIT, "left-running.service"),
    (Sort.SOURCE, "/etc/apt/sources.list.d/x.list"),
    (Sort.DIRECTORY, "/srv/shop"),
    (Sort.PORT, "tcp 8099"),
}
LEFT = {"/etc/app.conf", "/etc/binary.dat", "/usr/local/bin/rootme", "/srv/shop",
        "left-running.service"}  # fmt: skip


def adopt(root, host, name="nas1", **more):
    login = Login(host.address, host.user, host.port, host.host_key, str(host.identity_file))
    with Lab.load(root) as lab:
        return lab.adopt(name, login, **more)


def survey(root, name="nas1"):
    with Lab.load(root) as lab:
        report = lab.survey(f"host={name}")
    assert name in report.found, [p.failure for p in report.run.parts]
    return report


def told(report, name="nas1"):
    return {(t.sort, t.name) for t in report.found[name] if not t.accepted}


def contents(root):
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def test_a_machine_nobody_touched_is_adopted_and_has_no_entropy(sandbox, lab_dir):
    host = sandbox.host("survey-bare")
    root = lab_dir(EMPTY)
    before = host.run(HASHES)
    adopted = adopt(root, host)
    assert (adopted.plan.exit_code, adopted.plan.changes) == (ExitCode.OK, 0)
    report = survey(root)
    assert told(report) == set()
    assert report.scores == {"nas1": 0}
    assert report.exit_code is ExitCode.OK
    assert host.run(HASHES) == before


def test_a_snowflake_is_named_adopted_and_never_adopted_twice(sandbox, lab_dir):
    host = sandbox.host("survey-snowflake")
    root = lab_dir(EMPTY)
    adopt(root, host)
    host.run(SNOWFLAKE)
    report = survey(root)
    assert told(report) >= PLANTED
    assert any(s is Sort.KEY and n.startswith("bob: ") for s, n in told(report))
    assert len(told(report)) == len(PLANTED) + 1
    assert report.exit_code is ExitCode.PENDING

    again = lab_dir({"again/" + path: text for path, text in EMPTY.items()}) / "again"
    lines = (again / "inventory/hosts.yaml").read_text()
    before = host.run(HASHES)
    adopted = adopt(again, host)
    assert host.run(HASHES) == before
    assert (adopted.plan.exit_code, adopted.plan.changes) == (ExitCode.OK, 0)
    assert {what for what, _ in adopted.left} >= LEFT
    assert (again / "inventory/hosts.yaml").read_text().startswith(lines)
    written = contents(again)
    assert not [p for p, c in written.items() if b"abcdef123456" in c]
    left = {name for _, name in told(survey(again))}
    assert left == LEFT | {"tcp 8099"}

    with pytest.raises(ConfigError) as refused:
        adopt(again, host)
    assert "nas1 is declared already" in str(refused.value)
    with pytest.raises(ConfigError):
        adopt(again, host, name="nas2", persona="nas1")
    assert contents(again) == written


def test_what_is_accepted_with_a_reason_counts_no_more(sandbox, lab_dir):
    host = sandbox.host("survey-bare")
    root = lab_dir(EMPTY)
    adopt(root, host)
    host.run("echo x >/etc/one.conf; echo x >/etc/two.conf")
    entries = [
        '  - {kind: file, name: /etc/one.*, reason: "the vendor writes it"}',
        "  - {kind: package, name: gone, host: nas1, reason: was needed once}",
    ]
    (root / "accepted.yaml").write_text("accepted:\n" + "\n".join(entries) + "\n")
    try:
        report = survey(root)
        assert told(report) == {(Sort.FILE, "/etc/two.conf")}
        assert [t.accepted for t in report.found["nas1"]] == ["the vendor writes it", ""]
        assert [e.where for e in report.unused] == ["accepted.yaml:3:5"]
        with Lab.load(root) as lab:
            assert next(s for s in lab.status() if s.host == "nas1").entropy == 1
    finally:
        host.run("rm /etc/one.conf /etc/two.conf")


def test_a_dry_run_writes_nothing(sandbox, lab_dir):
    root = lab_dir(EMPTY)
    before = contents(root)
    adopted = adopt(root, sandbox.host("survey-bare"), dry_run=True)
    assert adopted.plan is None
    assert "personas/nas1.yaml" in dict(adopted.written)
    assert contents(root) == before


def test_a_machine_that_shows_another_key_is_not_adopted(sandbox, lab_dir):
    host = sandbox.host("survey-bare")
    root = lab_dir(EMPTY)
    before = contents(root)
    login = Login(
        host.address, host.user, host.port, f"ssh-ed25519 {BLOB}", str(host.identity_file)
    )
    with Lab.load(root) as lab, pytest.raises(Exception, match="host key that is declared"):
        lab.adopt("nas1", login)
    assert contents(root) == before
