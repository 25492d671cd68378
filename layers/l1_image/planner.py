"""Whether the template must be made: pure."""

from __future__ import annotations

from lab.layer import Prediction, Target
from lab.model.baseline import Baseline
from lab.model.host import Host, Part
from lab.model.plan import Action, Blocker, Change, FieldDiff, Plan
from lab.model.proxmox import Proxmox
from lab.model.undeclared import Known, Sort
from layers.l1_image.spec import (
    CONTAINER,
    PROXMOX,
    Definition,
    Document,
    Inputs,
    Observed,
    Outputs,
    Spec,
)

_BUILD_DEADLINE = 3600.0
_WANTED = ("systemd", "udev", "dbus", "openssh-server", "sudo", "cloud-init", "apt")
_AGENT = "qemu-guest-agent"
_CONTAINERS = ("systemd", "dbus", "openssh-server", "sudo", "python3", "apt")
_DRIVERS = {"memory": "memory", "docker": "container"}


def parts(document: Document) -> tuple[Part, ...]:
    """One template, or none where the persona has no image."""
    if document.image is None:
        return ()
    provider = document.provider
    if isinstance(provider, Proxmox):
        if document.is_container:
            return ()
        spec = Spec.of(document.image, proxmox=provider)
        return (Part(name="", driver="proxmox_template", spec=spec),)
    driver = _DRIVERS.get(provider.kind, "debian")
    return (Part(name="", driver=driver, spec=Spec.of(document.image, provider.engine)),)


def check(host: Host, part: Part) -> tuple[tuple[tuple[str | int, ...], str], ...]:  # noqa: ARG001
    """What a cloud image cannot be given, and what only a machine with a kernel of its own has."""
    spec = part.spec
    if not isinstance(spec, Spec):
        return ()
    problems: list[tuple[tuple[str | int, ...], str]] = []
    if not spec.image.base.suite:
        what = "a cloud image is taken as it is: what is added to it belongs under system:"
        problems += [(("image", key), what) for key in _BUILT_IN if getattr(spec.image, key)]
    if spec.engine is None:
        return tuple(problems)
    if not spec.image.base.suite:
        what = "a cloud image is a disk: for kind docker write a suite, like debian-13"
        problems.append((("image", "base"), what))
    if spec.image.kernel_parameters:
        what = "a container has no kernel of its own: leave kernel_parameters out for kind docker"
        problems.append((("image", "kernel_parameters"), what))
    return tuple(problems)


_BUILT_IN = ("packages", "repositories", "files", "certificates", "kernel_parameters")


def shared(target: Target[Spec, Inputs]) -> str:
    """Hosts with the same definition share one template; on Proxmox VE in one place."""
    return key(target.spec)


def key(spec: Spec) -> str:
    """What hosts that share a template have in common."""
    return spec.name if spec.proxmox is None else f"{spec.name} on {spec.proxmox.place}"


def known(host: Host, part: Part) -> Known:  # noqa: ARG001 (the protocol's signature)
    """Files that the image brings besides its packages: declared ones, and those of every image."""
    if not isinstance(part.spec, Spec):
        return frozenset()
    image = part.spec.image
    added = [f"/etc/apt/*/{r.name}.*" for r in image.repositories]
    return frozenset((Sort.FILE, path) for path in (*image.files, *added, *_OF_EVERY_IMAGE))


def plan(
    target: Target[Spec, Inputs],
    observed: Observed | None,
    replace_on: frozenset[str],  # noqa: ARG001 (a template is never changed, only made anew)
) -> Plan:
    """Make it if it is not there. A template outlives the hosts: destroying one leaves it."""
    if target.absent or (observed is not None and observed.present):
        return Plan()
    if observed is not None and observed.foreign:
        return Plan(blockers=(_foreign(target.spec, observed),))
    if observed is not None and observed.borrows:
        return Plan(blockers=(_not_lent(target),))
    if target.spec.name != target.spec.own_name and not (observed is not None and observed.lent):
        return Plan(blockers=(_not_to_be_made(target, observed),))
    if observed is not None and observed.damaged and observed.users:
        hosts = ", ".join(observed.users)
        return Plan(
            blockers=(
                Blocker(
                    what=f"template {target.spec.name}",
                    why=f"{observed.damaged}, and the disks of {hosts} lie on it",
                    hint=f"lab destroy host={observed.users[0]}   (durable disks are kept)",
                ),
            )
        )
    previous = None if observed is None else observed.previous
    change = Change(
        action=Action.CREATE,
        what=f"template {target.spec.name}",
        fields=_fields(target.spec.definition, None if previous is None else previous.definition),
        reason=_reason(observed),
        deadline=_BUILD_DEADLINE,
    )
    return Plan(changes=(change,))


def predict(target: Target[Spec, Inputs], observed: Observed | None, plan: Plan) -> Prediction:  # noqa: ARG001
    """Until it is built only its definition tells the baseline, and on Proxmox VE no VMID does."""
    return Prediction(outputs=_outputs(target, observed))


def outputs(target: Target[Spec, Inputs], observed: Observed | None) -> Outputs:
    """Where the template is, and what it holds."""
    return _outputs(target, observed)


def desired(target: Target[Spec, Inputs]) -> Observed:
    """What observing finds once the plan has been applied."""
    return Observed(
        name=target.spec.name,
        path=f"/memory/{target.spec.name}/disk.qcow2",
        present=True,
        baseline=declared_baseline(target.spec.definition),
    )


def declared_baseline(definition: Definition) -> Baseline:
    """What the definition alone tells of the operating system."""
    if not definition.base.startswith("debian-"):
        return Baseline()
    always = _CONTAINERS if definition.form == CONTAINER else _WANTED
    names = {*always, *definition.packages}
    names |= {_AGENT} if definition.form == PROXMOX else set()
    return Baseline(
        distribution="debian",
        release=definition.base.removeprefix("debian-"),
        packages=dict.fromkeys(sorted(names), ""),
    )


def _outputs(target: Target[Spec, Inputs], observed: Observed | None) -> Outputs:
    recorded = None if observed is None or not observed.present else observed.baseline
    spec = target.spec
    own = spec.name == spec.own_name
    return Outputs(
        template=None if observed is None else observed.path or None,
        template_name=spec.name,
        stays=spec.pinned,
        baseline=recorded or (declared_baseline(spec.definition) if own else Baseline()),
    )


def _not_to_be_made(target: Target[Spec, Inputs], observed: Observed | None) -> Blocker:
    """A promoted template that is not here, and is not what the definition comes to."""
    image, persona = target.spec.image, target.host.persona
    host, _, capture = image.captured.partition("@")
    again = f"lab image promote --from-capture host={host} at={capture} persona={persona}"
    anew = f"lab image promote persona={persona}   (what its definition comes to now)"
    damaged = "" if observed is None else observed.damaged
    why = f"it is promoted, and {damaged or 'it is not here'}"
    return Blocker(
        what=f"template {target.spec.name}", why=why, hint=again if image.captured else anew
    )


def _not_lent(target: Target[Spec, Inputs]) -> Blocker:
    """A twin makes no template on a cluster: it would be a second one."""
    why = "the lab has not made it there yet, and a drill makes none"
    hint = f"lab converge l1 host={target.host.name}"
    return Blocker(what=f"template {target.spec.name}", why=why, hint=hint)


def _foreign(spec: Spec, observed: Observed) -> Blocker:
    return Blocker(
        what=f"template {spec.name}",
        why=f"{observed.foreign} exists already, and Strata did not make it",
        hint=f"give it another name: docker tag {observed.path} {spec.name}:mine "
        f"&& docker rmi {observed.path}",
    )


def _reason(observed: Observed | None) -> str:
    if observed is None:
        return ""
    if observed.damaged:
        return observed.damaged
    return "" if observed.previous is None else "definition changed"


def _fields(wanted: Definition, previous: Definition | None) -> tuple[FieldDiff, ...]:
    """What the template will be; beside it what it was, where the host had another."""
    after = wanted.model_dump(mode="json")
    before = {} if previous is None else previous.model_dump(mode="json")
    shown = [
        name
        for name in after
        if (after[name] != before.get(name) if previous else after[name] and name in _SHOWN)
    ]
    return tuple(FieldDiff(name, before.get(name), after[name]) for name in shown)


_OF_EVERY_IMAGE = (
    "/etc/apt/apt.conf.d/90machine",
    "/etc/cloud/*",
    "/etc/grow-root.d/*",
    "/etc/initramfs/post-update.d/zz-esp",
    "/etc/kernel/postinst.d/zz-esp",
    "/etc/systemd/network/10-cloud-init-*.network",
    "/etc/systemd/network/80-dhcp.network",
    "/etc/systemd/system/*.service.d/startup.conf",
    "/etc/systemd/system/cloud-init-local.service",
    "/etc/systemd/system/grow-root.service",
    "/usr/local/share/ca-certificates/*",
)
_SHOWN = (
    "base",
    "checksum",
    "packages",
    "repositories",
    "files",
    "certificates",
    "kernel_parameters",
)
