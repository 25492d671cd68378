# The operator's and the developer's one command list. `just` alone lists it.

set positional-arguments
set shell := ["sh", "-eu", "-c"]
export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

_list:
    @just --list --unsorted

# Check the lab's files: every mistake at once, as file:line:column
validate *args:
    @lab validate "$@"

# What would change, over all five layers, also before a host exists:  just plan host=web1
plan *args:
    @lab plan "$@"

# Bring hosts to what is declared:  just converge   just converge l3 host=web1
converge *args:
    @lab converge "$@"

# Is everything as declared?  Exit code 2 where it is not
verify *args:
    @lab verify "$@"

# How every host stands
status *args:
    @lab status "$@"

# The lab drawn:  just graph --out lab.svg
graph *args:
    @lab graph "$@"

# Every value of a host and where it was written:  just show web1
show *args:
    @lab show "$@"

# Delete machines; durable disks stay:  just destroy host=web1
destroy *args:
    @lab destroy "$@"

# Log in to a host, its key already known:  just ssh web1
ssh *args:
    @lab ssh "$@"

# Is this machine fit to carry the lab?
doctor *args:
    @lab doctor "$@"

# Is the runway clear for these hosts?  just runway provider=pve
runway *args:
    @lab doctor "$@"

# Capture what must not be lost:  just capture   just capture host=media1 data=photos
capture *args:
    @lab capture "$@"

# What was captured, when, and whether it was read back:  just captures list   just captures verify
captures *args:
    @lab captures "$@"

# Templates: which there are, who is behind, promote:  just image status   just image promote persona=web
image *args:
    @lab image "$@"

# Put captured data back:  just restore host=media1 data=photos
restore *args:
    @lab restore "$@"

# Replace a machine without losing a byte:  just rebuild host=media1 --plan   just rebuild persona=media
rebuild *args:
    @lab rebuild "$@"

# Prove that it comes back, and how fast, in a twin that is thrown away:  just drill host=media1
drill *args:
    @lab drill "$@"

# Put a restic that is new enough on this machine (as root)
restic:
    @tools/install-restic

# Any other verb:  just lab history
lab *args:
    @lab "$@"

# The example lab, for real: template, VM, system, workload; again: 0 changes
demo:
    @lab validate --quiet
    @lab plan host=web1 --quiet || { status=$?; [ "$status" = 2 ] || exit "$status"; lab converge host=web1 --yes --no-input; }

# Delete what the demo made, its data and this lab's state on this machine too
demo-clean:
    @lab destroy host=web1 --with-data --confirm web1 --yes --no-input --forget

# The tests, a real machine included (about 20 minutes):  just test -k planner
test *args:
    @pytest -m "not vm and not build and not engine and not slow" -n auto --dist worksteal "$@" || [ $? = 5 ]
    @pytest -m "(vm or build) and not engine and not slow" "$@" || [ $? = 5 ]

# The rest: crashes, rebuilds and drift on more real machines; beside it, hosts in a real Docker engine
test-slow *args:
    @said=$(mktemp); pytest -m engine "$@" >"$said" 2>&1 & beside=$!; \
    trap 'kill $beside 2>/dev/null || :; rm -f "$said"' EXIT; worst=0; \
    note() { [ "$1" = 5 ] || [ "$1" -le $worst ] || worst=$1; }; \
    pytest -m "slow and (vm or build) and not engine and not long" "$@" || note $?; \
    pytest -m "slow and not (vm or build or engine or long)" -n auto --dist worksteal "$@" || note $?; \
    status=0; wait $beside || status=$?; note $status; cat "$said"; exit $worst

# What takes too long for CI: disks and runners lost on real machines, a drill, a captured boot disk
test-long *args:
    @pytest -m long "$@"

# The tests of Proxmox VE on a real node:  just test-pve url=https://pve.lan:8006 token=root@pam!t=… fingerprint=… node=pve1 storage=local-zfs network=192.0.2.0/24
test-pve *args:
    @python -m tests.pve "$@"

# The example role under Molecule, on a sandbox host: converge, idempotence, verify
molecule *args:
    @pytest tests/roles/test_molecule.py "$@"

# The fast tests only
test-fast *args:
    @pytest -m "not vm and not build and not engine and not slow" -n auto --dist worksteal -q "$@"

# Build the real sops, age, tofu and Proxmox provider that some tests need, into the cache (needs Go)
peers:
    @PATH="$PATH:/usr/local/go/bin" tools/build-peers

# How far the Proxmox stand-in agrees with the real API's recorded word, and every miss
pve-agreement:
    @python -m tests.standins.proxmox.agreement

# What must hold before a commit: lint, types, import contracts, fast tests
check: lint test-fast

# Formatting, lint, types, import contracts
lint:
    @ruff format --check .
    @ruff check .
    @mypy
    @lint-imports --no-logo --no-cache

# Mend formatting and what lint can mend by itself
format:
    @ruff format .
    @ruff check --fix .

# What is claimed about speed, measured here and now
bench *args:
    @python benchmarks/run.py "$@"

# Capturing 1 GiB in 10,000 files, beside plain restic
bench-recovery *args:
    @python benchmarks/recovery.py "$@"

# Many machines on Proxmox VE planned in one go: calls to the API, and time (about two minutes)
bench-proxmox *args:
    @python benchmarks/proxmox.py "$@"

# L3 beside pyinfra, mitogen, Ansible and bare ssh on a fleet of sandbox hosts (about 15 minutes)
bench-fleet *args:
    @python benchmarks/fleet.py "$@"

# The generated reference of every command and event: docs/cli.md, docs/events.md
reference:
    @python -m lab.cli.reference > docs/cli.md
    @python -m lab.cli.reference events > docs/events.md
