"""``lab validate`` tells every contradiction at once, each with the place where it is written."""
# ruff: noqa: E501 (YAML on the lines that its problems name)

from __future__ import annotations

import subprocess
import sys

import pytest

LAB = {
    "lab.yaml": "name: t\nproviders: {box: {kind: memory}}\n",
    "inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box}\n",
}


@pytest.fixture
def validate(lab_dir):
    """The mistakes of a persona's ``system``, as ``line:column text``."""

    def run(system: str, **files: str) -> list[str]:
        indented = "".join(f"  {line}\n" for line in system.strip("\n").split("\n"))
        root = lab_dir({**LAB, **files, "personas/web.yaml": f"system:\n{indented}"})
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli.main", "validate"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == (3 if "personas/web.yaml:" in done.stderr else 0), done.stderr
        lines = [line.strip() for line in done.stderr.splitlines()]
        prefix = "personas/web.yaml:"
        found = (t.partition(prefix)[2] for t in lines if t.startswith(prefix))
        return [t.replace(": ", " ", 1) for t in found]

    return run


def test_all_mistakes_of_form_at_once(validate):
    assert validate("""
files: {etc/relative: {content: ""}, /a: {content: "", mode: 420}, /b: {content: "", validate: "true"}}
directories: {/d: {mode: rwx}}
links: {/l: {target: /x, exist: true}}
absent: [/ok, not/ok, /ok]
lines: {/f: {one: {match: "("}, two: {line: x, after: a, before: b}, "bad name": y}}
blocks: {/f: {one: {content: "", comment: ""}}}
units: {backup: {content: ""}, "x.service.d/y": {content: ""}}
timers: {t: {on_calendar: daily}, u: {command: x, on_calendar: "25:00"}}
cron: {c: "61 * * * * root x"}
timezone: Europe/Berln
locale: en_US
swap: {/swap file: 1GiB, /s: 1}
kernel_modules: [a, "b c"]
services: {x: {masked: true, enabled: true}}
""") == [
        "2:11 'etc/relative' is not absolute: write it with a leading /",
        '2:58 a mode is written in quotes: "0644"',
        "2:88 write %s where the path of the new file goes: nginx -t -c %s",
        "3:22 'rwx' is not a mode: write it like \"0644\"",
        "4:28 unknown key 'exist'; did you mean 'exists'?",
        "5:17 'not/ok' is not absolute: write it with a leading /",
        "6:22 '(' is not a regular expression: missing ), unterminated subpattern at position 0",
        "6:35 give after or before, not both",
        "6:72 'bad name' is not a name: letters, digits, dots, _ and -",
        "7:36 '' is not what a comment begins with: write it like # or //",
        "8:11 'backup' is not a unit's file: write it like backup.service",
        "8:34 'x.service.d/y' is not a drop-in: write it like docker.service.d/limits.conf",
        "9:12 give exactly one of command and unit",
        "9:53 '25:00' has no such time of the day: 25:00",
        "10:10 '61' is not a minute: 0 to 59",
        "11:3 'Europe/Berln' is not a time zone; did you mean 'Europe/Berlin'?",
        "12:3 'en_US' is not a locale: write it like en_US.UTF-8",
        "13:10 '/swap file': a path without blanks is expected here",
        "13:28 a size needs its unit: write 1GiB or 1MiB",
        "14:23 'b c' is not a kernel module's name: letters, digits, _ and -",
        "15:14 what is masked can neither run nor be enabled",
    ]


def test_all_contradictions_at_once(validate):
    assert validate(
        """
directories: {/a: , /b/c: , /m: }
files: {/a: {content: ""}, /f: {content: ""}, /f/below: {content: ""}, /gone/x: {content: ""}, /t: {template: t.j2}}
links: {/f: /x, /one: two, /two: /three, /three: /one, /self: self}
absent: [/b/c, /gone]
lines: {/f: {x: y}, /e: {p: {line: "Port 1", match: ^Port}, q: {line: "Port 2", match: ^Port}}}
blocks: {/e: {b: {template: t.j2}}, /h: {b: {content: "# END strata b"}}}
mounts: {/m: {source: /n/x}, /n: {source: /m/y}, /self-in: {source: /self-in/x}}
services: {s: {state: running, restart_on: [/f, /nowhere], reload_on: [/e, /no]}, s.service: stopped}
timers: {t: {unit: t.timer, on_calendar: daily}}
""",
        **{"personas/web/t.j2": "{{ nothing }}\n"},
    ) == [
        "3:11 /a is declared under directories too",
        "3:49 /f is declared as a file: nothing can lie in it",
        "3:74 /gone is declared to be absent: nothing can lie in it",
        "3:103 personas/web/t.j2: the template does not render: 'nothing' is undefined",
        "4:11 /f is declared under files too",
        "4:19 links lead in a circle: /one → /two → /three → /one",
        "4:58 links lead in a circle: /self → /self",
        "5:12 /b/c is declared under directories too",
        "6:11 /f is declared under files too",
        "6:23 the lines p and q of /e are about the same line",
        "7:21 personas/web/t.j2: the template does not render: 'nothing' is undefined",
        "7:39 the block b of /h holds the mark of a block",
        "8:12 mounts wait in a circle: /m → /n → /m",
        "8:52 mounts wait in a circle: /self-in → /self-in",
        "9:51 /nowhere is not among the files declared here",
        "9:78 /no is not among the files declared here",
        "9:85 this is s once more",
        "10:16 t.timer waits for itself",
    ]


def test_what_a_recipe_makes_besides_is_told_where_it_was_asked_for(validate):
    assert validate("""
files: {/etc/systemd/system/b.timer: {content: ""}, /etc/timezone: {content: ""}}
timers: {b: {command: x, on_calendar: daily}}
cron: {b: "@daily root x"}
timezone: Etc/UTC
""") == [
        "2:11 timers makes /etc/systemd/system/b.timer under files: it cannot be declared here too",
        "2:55 timezone makes /etc/timezone under files: it cannot be declared here too",
        "4:3 cron makes /etc/systemd/system/b.service under files: timers makes it too",
    ]
    assert validate("""
files: {/etc/localtime: {content: ""}}
timezone: Etc/UTC
""") == ["3:3 /etc/localtime is declared under files too"]


def test_a_folder_of_the_system_is_not_removed_whole(validate):
    assert validate("absent: {/etc: {recursive: true}, /srv/old: {recursive: true}}") == [
        "2:12 /etc is the system's own: it is not removed with all that is in it"
    ]


def test_everything_together_is_fine(validate):
    assert not validate("""
files: {/etc/a: {content: "", validate: "test -f %s"}}
directories: {/srv/d: }
links: {/etc/l: /etc/a, /etc/rel: a}
absent: [/etc/b, /etc/c]
lines: {/etc/h: {one: x, two: {line: Port 1, match: "^#?Port"}, three: {match: old, state: absent}}}
blocks: {/etc/h: {one: {content: x}}}
mounts: {/srv/d: {source: "//nas/My Share", type: cifs, options: credentials=/etc/a}}
services: {x: {state: running, restart_on: [/etc/a, /etc/l], reload_on: [/etc/h]}, y: {masked: true}}
units: {u.service: {content: "[Service]", state: running}, "x.service.d/a.conf": {content: ""}}
timers: {t: {command: "a", on_calendar: [daily, "03:30"], user: root}, v: {unit: u, on_calendar: weekly}}
cron: {c: "*/5 * 1 jan mon root true"}
timezone: Europe/Berlin
locale: {default: en_US.UTF-8, generate: [de_DE.UTF-8]}
swap: {/swapfile: 1GiB}
kernel_modules: {br_netfilter: , kvm-intel: {nested: 1}}
""")
