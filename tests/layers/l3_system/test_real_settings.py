"""Units, timers and settings on a real host: made once, mended after drift, taken back whole."""

from __future__ import annotations

import pytest

from lab.errors import DriverError

pytestmark = pytest.mark.engine

ONCE = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo once >>/run/once'\n"
STAYS = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


def test_a_unit_is_verified_started_and_restarted_once_when_it_changes(machine):
    system = {"units": {"stays.service": {"content": STAYS, "state": "running"}}}
    file = "/etc/systemd/system/stays.service"
    assert machine.converge(system) == [f"+ file {file}", "+ service stays.service"]
    started = "systemctl show -p ExecMainPID --value stays"
    before = machine.run(started)
    limits = {"stays.service.d/limits.conf": {"content": "[Service]\nLimitNOFILE=1000\n"}}
    changed = {"units": {**system["units"], **limits}}
    machine.converge(changed)
    after = machine.run(started)
    assert after != before
    assert machine.run("systemctl show -p LimitNOFILE --value stays") == "1000"
    assert machine.converge(changed) == []
    assert machine.run(started) == after
    machine.run(f"echo '# by hand' >>{file}")
    assert machine.converge(changed) == [f"~ file {file}", "~ service stays.service"]
    machine.converge({})
    assert machine.run("systemctl show -p LoadState --value stays") == "not-found"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.service", "[Service]\nType=oneshot\n", "Refusing"),
        ("bad.service", "[Service]\nExecStart=/no/such/program\n", "not executable"),
        ("bad.timer", "[Timer]\nOnCalendar=often\n", "lacks value setting"),
        ("cron.service.d/x.conf", "[Service]\nExecStart=/no/such/program\n", "cron.service"),
    ],
)
def test_a_unit_that_systemd_does_not_take_changes_nothing(machine, name, content, says):
    before = machine.run("ls -R --full-time /etc/systemd/system")
    with pytest.raises(DriverError) as caught:
        machine.converge({"units": {name: {"content": content}}})
    assert f"verified %s {name} refuses it, and nothing was changed" in str(caught.value)
    assert any(says in line for line in caught.value.lines), caught.value.lines
    assert machine.run("ls -R --full-time /etc/systemd/system") == before


def test_a_drop_in_alone_is_read_even_after_a_crash(machine):
    machine.run(f"printf '{STAYS}' >/usr/lib/systemd/system/alone.service")
    machine.run("systemctl daemon-reload; systemctl start alone")
    system = {"units": {"alone.service.d/x.conf": {"content": "[Service]\nNice=5\n"}}}
    machine.run("mkdir -p /etc/systemd/system/alone.service.d")
    machine.converge(system)
    stale = "systemctl show -p NeedDaemonReload --value alone"
    assert machine.run(stale) == "no"
    # as if killed right after the file, before systemd was told
    machine.run("touch -d '+2 seconds' /etc/systemd/system/alone.service.d/x.conf")
    assert machine.run(stale) == "yes"
    assert machine.converge(system) == ["~ service alone.service"]
    assert machine.run(stale) == "no"
    machine.converge({})
    assert machine.run(stale) == "no"
    machine.run("systemctl stop alone; rm /usr/lib/systemd/system/alone.service")
    machine.run("systemctl daemon-reload; rmdir /etc/systemd/system/alone.service.d")


def test_timers_and_crontab_lines_run_as_declared(machine):
    odd = """printf '%s|%s|%s\\n' "$HOME" "a  b" '$x\\y"' >>/run/once"""
    system = {
        "timers": {
            "backup": {
                "command": odd,
                "on_calendar": ["daily", "Mon *-*-* 12:00"],
                "randomized_delay": "10m",
                "environment": {"HOME": '/h o"m%e'},
            }
        },
        "cron": {"nightly": "30 3 13 * 5 daemon id -un >/run/user-of-it"},
    }
    done = machine.converge(system)
    assert done[-2:] == ["+ service backup.timer", "+ service nightly.timer"]
    machine.run("rm -f /run/once /run/user-of-it; install -o daemon /dev/null /run/user-of-it")
    machine.run("systemctl start backup.service nightly.service")
    assert machine.run("cat /run/once") == '/h o"m%e|a  b|$x\\y"'
    assert machine.run("cat /run/user-of-it") == "daemon"
    next_runs = machine.run("systemctl list-timers --no-legend backup.timer nightly.timer")
    assert len(next_runs.splitlines()) == 2
    machine.run("systemctl stop nightly.timer; systemctl disable -q backup.timer")
    drift = machine.converge(system)
    assert drift == ["~ service backup.timer", "~ service nightly.timer"]
    again = {**system, "cron": {"nightly": "31 3 * * * daemon id -un >/run/user-of-it"}}
    assert machine.converge(again) == [
        "~ file /etc/systemd/system/nightly.timer",
        "~ service nightly.timer",
    ]
    machine.converge({})
    left = "systemctl list-unit-files --no-legend 'backup.*' 'nightly.*' | wc -l"
    assert machine.run(left) == "0"
    machine.run("rm -f /run/once /run/user-of-it /var/lib/systemd/timers/stamp-backup.timer")


def test_the_time_zone(machine):
    look = "readlink /etc/localtime; cat /etc/timezone 2>/dev/null || :"
    before = machine.run(look)
    machine.converge({"timezone": "Europe/Berlin"})
    assert machine.run("date -d @1752580800 +%H:%M; cat /etc/timezone") == "14:00\nEurope/Berlin"
    machine.run("ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime")
    assert machine.converge({"timezone": "Europe/Berlin"}) == ["~ link /etc/localtime"]
    machine.run("mv /usr/share/zoneinfo/Europe/Rome /root/rome")
    with pytest.raises(DriverError, match="there is no /usr/share/zoneinfo/Europe/Rome"):
        machine.converge({"timezone": "Europe/Rome"})
    machine.run("mv /root/rome /usr/share/zoneinfo/Europe/Rome")
    machine.converge({})
    assert machine.run(look) == before


@pytest.mark.slow
def test_locales(machine):
    look = "locale -a; cat /etc/locale.gen /etc/locale.conf; readlink /etc/default/locale"
    before = machine.run(look)
    system = {"locale": {"default": "en_GB.UTF-8", "generate": ["C.UTF-8"]}}
    done = machine.converge(system)
    assert [d for d in done if "locale " in d] == ["+ locale en_GB.UTF-8"]
    assert machine.run("grep '^[a-z]' /etc/locale.gen; . /etc/default/locale; echo $LANG") == (
        "en_GB.UTF-8 UTF-8\nen_GB.UTF-8"
    )
    assert "en_GB.utf8" in machine.run("locale -a").split()
    machine.run("localedef --delete-from-archive en_GB.utf8; sed -i '/^en_GB/d' /etc/locale.gen")
    assert machine.converge(system) == ["~ edit /etc/locale.gen", "+ locale en_GB.UTF-8"]
    with pytest.raises(DriverError, match="there is no locale xx_XX"):
        machine.converge({"locale": {"generate": ["xx_XX.UTF-8"]}})
    machine.converge({})
    assert machine.run(look) == before


def test_swap(machine):
    fstab = machine.run("cat /etc/fstab")
    machine.run("echo precious >/foreign")
    (blocker,) = machine.plan({"swap": {"/foreign": "1MiB"}}).blockers
    assert blocker.why == "a file that Strata did not make is there"
    system = {"swap": {"/swap/file": "3MiB"}}
    with pytest.raises(DriverError, match="swap /swap/file on real: the kernel does not swap"):
        machine.converge(system)  # a container may not
    assert machine.run("stat -c '%s %a' /swap/file; blkid -p -s TYPE -o value /swap/file") == (
        "3145728 600\nswap"
    )
    assert machine.run("grep swap /etc/fstab") == "/swap/file none swap sw,nofail 0 0"
    (change,) = machine.plan(system).changes
    assert [(f.field, f.before, f.after) for f in change.fields] == [("on", False, True)]
    bigger = machine.plan({"swap": {"/swap/file": "4MiB"}}).changes[0]
    assert bigger.action.sign == "-/+"
    with pytest.raises(DriverError, match=r"only \d+ KiB are free there"):
        machine.converge({"swap": {"/swap/file": "900TiB"}})
    machine.converge({})
    assert machine.run("cat /etc/fstab; ls -d /swap/file 2>/dev/null || :") == fstab
    machine.run("rm /foreign; rmdir /swap")


def test_kernel_modules(machine):
    loaded = machine.run("ls -d /sys/module/*/parameters | head -n 1").split("/")[3]
    system = {"kernel_modules": {loaded: {"x": 1}}}
    assert machine.converge(system) == [
        f"+ file /etc/modules-load.d/strata-{loaded}.conf",
        f"+ file /etc/modprobe.d/strata-{loaded}.conf",
    ]
    assert machine.run(f"cat /etc/mod*.d/strata-{loaded}.conf") == (
        f"options {loaded} x=1\n{loaded}"
    )
    machine.run(
        "d=/lib/modules/$(uname -r); mkdir -p $d; echo kernel/a/built-in_one.ko >$d/modules.builtin"
    )
    builtin = {"kernel_modules": ["built_in-one"]}
    assert machine.converge(builtin)[-1] == "+ file /etc/modules-load.d/strata-built_in_one.conf"
    with pytest.raises(DriverError, match=r"module no_such on real: .*modprobe"):
        machine.converge({"kernel_modules": ["no-such"]})
    machine.run("rm -rf /lib/modules/$(uname -r)")


def test_mounts_with_blanks_bound_and_missing(machine):
    fstab = machine.run("cat /etc/fstab")
    system = {
        "directories": {"/srv/the source": {"mode": "0700"}},
        "mounts": {
            "/mnt/a b/inner": {"source": "tmpfs", "type": "tmpfs", "options": "size=1m"},
            "/mnt/a b": {"source": "/srv/the source", "type": "none", "options": "bind"},
        },
    }
    done = machine.converge(system)
    assert done[:2] == ["+ mount /mnt/a b", "+ mount /mnt/a b/inner"]
    assert machine.run("findmnt -n -o FSTYPE '/mnt/a b/inner'; stat -c %a '/srv/the source'") == (
        "tmpfs\n700"
    )
    assert "/mnt/a b" in machine.run("findmnt --fstab -n -o TARGET").splitlines()
    machine.run("umount '/mnt/a b/inner'")
    assert machine.converge(system) == ["~ mount /mnt/a b/inner"]
    machine.converge({})
    assert machine.run("cat /etc/fstab; findmnt -n '/mnt/a b' || :") == fstab
    with pytest.raises(DriverError, match="mount /mnt/x on real: there is no /dev/no-such to"):
        machine.converge({"mounts": {"/mnt/x": {"source": "/dev/no-such", "options": "ro"}}})
    assert machine.run("tail -n 1 /etc/fstab").endswith("auto ro,nofail 0 0")
    machine.converge({})
    assert machine.run("cat /etc/fstab") == fstab
    machine.run("rm -rf /mnt/*; rm -rf '/srv/the source'")


def test_credentials_are_there_before_the_mount_that_names_them(machine):
    system = {
        "files": {"/etc/nas": {"content": "password=x\n"}},
        "mounts": {
            "/mnt/n": {"source": "//no.such/x y", "type": "cifs", "options": "credentials=/etc/nas"}
        },
    }
    assert [c.what for c in machine.plan(system).changes] == ["file /etc/nas", "mount /mnt/n"]


def test_a_setting_that_another_file_sets_later_is_told(machine):
    key = "net.ipv4.ip_default_ttl"
    was = machine.run(f"sysctl -n {key}")
    machine.run(
        "printf '# c\\nnet/ipv4/ip_default_ttl = 66\\n' >/etc/sysctl.d/99-local.conf; "
        "ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf; echo net.ipv4.ip_default_ttl=67 "
        ">/etc/sysctl.conf"
    )
    system = {"sysctl": {key: 70}}
    machine.converge(system)
    machine.run("/usr/lib/systemd/systemd-sysctl")  # what a boot does
    assert machine.run(f"sysctl -n {key}") == "70"
    machine.run("echo net.ipv4.ip_default_ttl=68 >/usr/lib/sysctl.d/zzz.conf")
    (blocker,) = machine.plan(system).blockers
    assert "/usr/lib/sysctl.d/zzz.conf is read after ours, and sets it to 68" in blocker.why
    machine.run("rm /usr/lib/sysctl.d/zzz.conf")
    machine.converge({})
    assert machine.run(f"sysctl -n {key}") == was
    machine.run("rm /etc/sysctl.d/99-local.conf /etc/sysctl.d/99-sysctl.conf /etc/sysctl.conf")
