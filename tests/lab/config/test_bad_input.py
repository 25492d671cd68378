"""Every mistake at once, at its place, in plain words; never a traceback."""

import time
import tracemalloc

import pytest

HOSTS = "hosts:\n  web1: {persona: web, provider: box}\n"

CASES = {
    "unknown key": (
        {"personas/web.yaml": "box:\n  memmory: 1GiB\n"},
        ["personas/web.yaml:2:3: unknown key 'memmory'; did you mean 'memory'?"],
    ),
    "unknown section": (
        {"personas/web.yaml": "bok:\n  memory: 1GiB\n"},
        ["personas/web.yaml:1:1: unknown key 'bok'; did you mean 'box'?"],
    ),
    "wrong unit": (
        {"personas/web.yaml": "box:\n  memory: 8Gb\n"},
        ["personas/web.yaml:2:3: '8Gb' is not a size: write it like 8GiB, 512MiB or 1.5TiB"],
    ),
    "no unit": (
        {"personas/web.yaml": "box: {memory: 8}\n"},
        ["personas/web.yaml:1:7: a size needs its unit: write 8GiB or 8MiB"],
    ),
    "unknown persona": (
        {"inventory/hosts.yaml": "hosts:\n  web1: {persona: wed, provider: box}\n"},
        ["inventory/hosts.yaml:2:19: unknown persona 'wed'; did you mean 'web'?"],
    ),
    "unknown provider": (
        {"inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: bux}\n"},
        ["inventory/hosts.yaml:2:34: unknown provider 'bux'; did you mean 'box'?"],
    ),
    "cycle in after": (
        {
            "inventory/hosts.yaml": "hosts:\n"
            "  a: {persona: web, provider: box, after: [b]}\n"
            "  b: {persona: web, provider: box, after: [a]}\n"
        },
        ["inventory/hosts.yaml:2:36: hosts wait for each other: a → b → a"],
    ),
    "unknown host in after": (
        {"inventory/hosts.yaml": "hosts:\n  web1: {persona: web, provider: box, after: [web2]}\n"},
        ["inventory/hosts.yaml:2:47: unknown host 'web2'; did you mean 'web1'?"],
    ),
    "two hosts on one port": (
        {
            "inventory/hosts.yaml": "hosts:\n"
            "  a: {persona: web, provider: box, box: {port: 80}}\n"
            "  b: {persona: web, provider: box, box: {port: 80}}\n"
        },
        [
            (
                "inventory/hosts.yaml:3:42: b and a both claim port 80"
                " (the other stands at inventory/hosts.yaml:2:42)"
            ),
        ],
    ),
    "shell characters in a host name": (
        {"inventory/hosts.yaml": 'hosts:\n  "x; rm -rf /": {persona: web, provider: box}\n'},
        [
            (
                "inventory/hosts.yaml:2:3: 'x; rm -rf /' is not a name:"
                " lower-case letters, digits and inner hyphens, at most 63"
            ),
        ],
    ),
    "extends in a circle": (
        {"personas/web.yaml": "extends: [web]\n"},
        ["personas/web.yaml:1:1: personas extend in a circle: web → web"],
    ),
    "extends what is not there": (
        {"personas/web.yaml": "extends: [bse]\n", "personas/base.yaml": "box: {}\n"},
        ["personas/web.yaml:1:11: unknown persona 'bse'; did you mean 'base'?"],
    ),
    "a key twice": (
        {"personas/web.yaml": "box:\n  colour: red\n  colour: blue\n"},
        ["personas/web.yaml:3:3: 'colour' stands here twice (first on line 2)"],
    ),
    "python tag": (
        {"personas/web.yaml": "box: !!python/object/apply:os.system [id]\n"},
        [
            "personas/web.yaml:1:1: a mapping (key: value) is expected here, not a list",
            (
                "personas/web.yaml:1:6: unknown tag !!python/object/apply:os.system:"
                " !secret, !override, !reset exist"
            ),
        ],
    ),
    "not YAML": (
        {"personas/web.yaml": "box: {memory: 1GiB\n"},
        ["personas/web.yaml:2:1: not YAML: did not find expected ',' or '}'"],
    ),
    "a file that is not there": (
        {"personas/web.yaml": "box: {file: motd}\n", "personas/web/mtd": ""},
        ["personas/web.yaml:1:7: there is no file 'motd' in personas/web/; did you mean 'mtd'?"],
    ),
    "a file outside the lab": (
        {"personas/web.yaml": "box: {file: ../../etc/passwd}\n"},
        [
            (
                "personas/web.yaml:1:7: '../../etc/passwd': a file of this lab is named by a path"
                " inside it, without '..'"
            ),
        ],
    ),
    "a list where a mapping belongs": (
        {"personas/web.yaml": "box: [1]\n"},
        ["personas/web.yaml:1:1: a mapping (key: value) is expected here, not a list"],
    ),
    "a scalar file": (
        {"personas/web.yaml": "just words\n"},
        ["personas/web.yaml:1:1: a mapping (key: value) is expected here"],
    ),
    "missing keys": (
        {"inventory/hosts.yaml": "hosts:\n  web1: {persona: web}\n"},
        ["inventory/hosts.yaml:2:9: 'provider' is missing"],
    ),
    "an alias to itself": (
        {"personas/web.yaml": "box: &a {inner: *a}\n"},
        [
            "personas/web.yaml:1:10: a mapping (key: value) is expected here",
            "personas/web.yaml:1:17: an alias that contains itself",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message(wrong, name):
    files, expected = CASES[name]
    assert wrong(files) == expected


def test_every_mistake_of_every_file_at_once(wrong):
    lines = wrong(
        {
            "personas/web.yaml": "box:\n  memmory: 1GiB\n  port: many\n",
            "personas/other.yaml": "purpos: x\n",
            "inventory/hosts.yaml": HOSTS + "  Web_2: {persona: wed, provider: box}\n",
        }
    )
    assert [line.split(": ")[0] for line in lines] == [
        "inventory/hosts.yaml:3:3",
        "personas/other.yaml:1:1",
        "personas/web.yaml:2:3",
        "personas/web.yaml:3:3",
    ]


def test_a_host_that_is_wrong_in_itself_is_not_unknown_to_those_who_wait_for_it(wrong):
    hosts = "hosts:\n  a: {persona: wed, provider: box}\n"
    hosts += "  b: {persona: web, provider: box, after: [a]}\n"
    assert wrong({"inventory/hosts.yaml": hosts}) == [
        "inventory/hosts.yaml:2:16: unknown persona 'wed'; did you mean 'web'?"
    ]


def test_a_mistake_in_a_persona_is_told_once_for_a_hundred_hosts(wrong):
    hosts = "hosts:\n" + "".join(f"  h{i}: {{persona: web, provider: box}}\n" for i in range(100))
    bad = {"inventory/hosts.yaml": hosts, "personas/web.yaml": "box: {prt: 1}\n"}
    assert len(wrong(bad)) == 1


def test_a_persona_file_that_is_a_folder(wrong, lab_dir):
    lab_dir({"personas/db.yaml/x": ""})
    assert wrong({}) == ["personas/db.yaml: this is a folder, a YAML file is expected here"]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"
    for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000 + "x",
        "? " * 50_000 + "x",
        "a: " + "9" * 100_000,
        "\0",
        "\x00\xff",
        "&a [*a]",
        "box: \t- x",
        "%YAML 9.9\n---\nx",
        "--- a\n--- b\n",
        "!!python/name:os.system x",
        "? [a, b]\n: c\n",
        "<<: 3\n",
        "x" * (9 * 1024 * 1024),
    ],
    ids=lambda t: repr(t[:12]),
)
def test_hostile_yaml_ends_in_a_message_quickly_and_small(wrong, text):
    tracemalloc.start()
    start = time.monotonic()
    lines = wrong({"personas/web.yaml": text})
    seconds = time.monotonic() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines
    assert all(line.startswith("personas/web.yaml") for line in lines)
    assert seconds < 20  # slow machines; the figure itself is in benchmarks/
    assert peak < 200 * 1024 * 1024
