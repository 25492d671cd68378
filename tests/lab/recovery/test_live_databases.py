"""Databases captured while programs write them: what was acknowledged is in the capture."""

import subprocess

import pytest

from lab.clients.shell import Endpoint, Shell
from lab.model.dataset import DataSet
from lab.model.outcome import ExitCode
from lab.recovery import reading

pytestmark = [pytest.mark.engine, pytest.mark.slow]

ROUNDS = 10
BIN = "/usr/lib/postgresql/17/bin"
CLUSTER = "/var/lib/postgresql/17/main"
WRITERS = """
cat > /usr/local/bin/writer <<'END'
#!/bin/sh
exec >/dev/null 2>&1
i=0; while :; do i=$((i+1)); n=$1$i; say="insert into t values ($n)"
psql -h /run/postgresql -U postgres -qAtc "$say" && echo $n >> /srv/acked.$1
sqlite3 -cmd '.timeout 5000' /srv/app.db "$say" && echo $n >> /srv/lite.$1
done
END
chmod 755 /usr/local/bin/writer; mkdir -p /srv
sed -i 's/^local.*peer/local all all trust/' /etc/postgresql/17/main/pg_hba.conf
pg_ctlcluster 17 main restart
psql -h /run/postgresql -U postgres -qc 'drop table if exists t; create table t (n bigint)'
sqlite3 /srv/app.db 'pragma journal_mode=wal; create table t (n integer)' >/dev/null
touch /srv/acked.1 /srv/acked.2 /srv/lite.1 /srv/lite.2
for w in 1 2; do setsid writer $w >/dev/null 2>&1 </dev/null & done
"""
PERSONA = """
system: none
lifecycle: {keep: {last: 99}}
data:
  files:
    paths: [/var/lib/postgresql]
    quiesce:
      before: pg_ctlcluster 17 main stop -m fast && cat /srv/acked.* > /root/promised-files
      after: pg_ctlcluster 17 main start
  dump:
    dump: |
      cat /srv/acked.* > /root/promised-dump
      pg_dump -h /run/postgresql -U postgres --data-only postgres
    restore: psql -h /run/postgresql -U postgres postgres
  lite:
    dump: cat /srv/lite.* > /root/promised-lite; sqlite3 -cmd '.timeout 60000' /srv/app.db .dump
    restore: sqlite3 /srv/app.db
"""


@pytest.fixture
def host(sandbox):
    made = sandbox.host("database", "database")
    made.run("pg_ctlcluster 17 main start || :")
    made.run("until pg_ctlcluster 17 main status >/dev/null; do sleep 0.1; done")
    made.run(WRITERS)
    yield made
    made.run("pkill -x writer; pg_ctlcluster 17 main stop -m fast; rm -f /srv/*; :")


@pytest.fixture
def lab(here, host):
    made = here()
    (made.root / "personas/p.yaml").write_text(PERSONA)
    login = f"user: {host.user}, port: {host.port}, identity_file: {host.identity_file}"
    (made.root / "inventory/hosts.yaml").write_text(
        f"hosts: {{me: {{persona: p, provider: here, address: {host.address},"
        f" existing: {{{login}, host_key: '{host.host_key}'}}}}}}\n"
    )
    with made.lab() as lab:
        yield lab


def content(lab, *parts):
    """Of the newest captures: each manifest and the stream of that name, compared with it."""
    repository, listing = lab.captures.repository, lab.captures.listing()
    for name, part in parts:
        manifest = repository.manifest(listing.of("me", name, good=True)[0])
        stream = manifest.stream(part)
        yield manifest, b"".join(reading.checked(repository, manifest, stream))


def promised(host, name):
    return {line for line in host.run(f"cat /root/promised-{name}").split() if line}


def files_hold(host, archive):
    """The rows of a cluster that starts from nothing but the captured files."""
    subprocess.run(
        ["docker", "--host", host.engine, "exec", "-i", host.container, "sh", "-c",
         "rm -rf /var/tmp/back && mkdir /var/tmp/back && tar -C /var/tmp/back -xf -"],
        input=archive, check=True, capture_output=True,
    )  # fmt: skip
    at = f"/var/tmp/back{CLUSTER}"
    host.run(
        "rm -f /var/tmp/out; chmod 755 /var/tmp/back\n"
        f"echo \"copy t to '/var/tmp/out'\" | setpriv --reuid=postgres --regid=postgres"
        f" --clear-groups {BIN}/postgres --single -D {at} -c data_directory={at}"
        " -c config_file=/etc/postgresql/17/main/postgresql.conf"
        " -c external_pid_file= postgres >/dev/null 2>/var/tmp/err || { cat /var/tmp/err; exit 1; }"
    )
    return set(host.run("cat /var/tmp/out").split())


def dump_holds(text):
    rows = text.decode().splitlines()
    start = next(i for i, row in enumerate(rows) if row.startswith("COPY public.t"))
    return set(rows[start + 1 : rows.index("\\.", start)])


def test_every_acknowledged_transaction_is_in_the_capture(lab, host):
    before, kept = 0, 0
    for turn in range(ROUNDS):
        report = lab.capture(names=["files", "dump"], accept_small=True)
        assert report.exit_code is ExitCode.OK, [p.failure for p in report.run.parts]
        (manifest, archive), (_, dump) = content(lab, ("files", "files.tar"), ("dump", "dump"))
        assert manifest.quiesced
        assert not manifest.torn
        kept += promised(host, "files") <= files_hold(host, archive)
        kept += promised(host, "dump") <= dump_holds(dump)
        written = len(promised(host, "files"))
        assert written > before, f"nothing was written before round {turn}"
        before = written
    assert kept == 2 * ROUNDS


def test_sqlite_with_writers_is_captured_whole(lab, host):
    for _ in range(3):
        assert lab.capture(names=["lite"], accept_small=True).exit_code is ExitCode.OK
        wanted = promised(host, "lite")
        ((_, text),) = content(lab, ("lite", "dump"))
        rows = [r for r in text.decode().splitlines() if "INTO t" in r]
        assert wanted
        assert wanted <= {row[len("INSERT INTO t VALUES(") : -2] for row in rows}


def test_the_host_goes_on_where_the_connection_is_cut(host, tmp_path):
    """``after`` is run by whoever is left: here nobody of this side is."""
    import threading

    from lab.recovery import onhost

    shell = Shell(
        Endpoint("x", "ssh", host.address, host.port, host.user, host.host_key, host.identity_file),
        tmp_path, threading.Event(),
    )  # fmt: skip
    host.run("head -c 50000000 /dev/zero > /srv/zeros; rm -f /srv/went-on")
    one = DataSet("x", ("/srv/zeros",), before="true", after="touch /srv/went-on")

    def cut(piece):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        shell.run(onhost.files(one), doing="read", sink=cut)
    host.run("timeout 20 sh -c 'until [ -e /srv/went-on ]; do sleep 0.1; done'")
