"""The roles that come with Proxmox VE 9, and every privilege there is."""

from __future__ import annotations

_VM_USER = "VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.PowerMgmt"
_VM_USER += " VM.GuestAgent.Audit"
_VM_ADMIN = (
    _VM_USER + " VM.Allocate VM.Clone VM.Config.CPU VM.Config.Disk VM.Config.HWType"
    " VM.Config.Memory VM.Config.Network VM.Config.Options VM.GuestAgent.FileRead"
    " VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted"
    " VM.Migrate VM.Replicate VM.Snapshot VM.Snapshot.Rollback"
)
_DATASTORE_USER = "Datastore.AllocateSpace Datastore.Audit"
_DATASTORE_ADMIN = _DATASTORE_USER + " Datastore.Allocate Datastore.AllocateTemplate"
_POOL_ADMIN = "Pool.Allocate Pool.Audit"
_SDN_ADMIN = "SDN.Allocate SDN.Audit SDN.Use"
_USER_ADMIN = "Group.Allocate Realm.AllocateUser User.Modify"
_MAPPING_ADMIN = "Mapping.Audit Mapping.Modify Mapping.Use"
_SYS_ADMIN = "Sys.Audit Sys.Console Sys.Syslog"
_AUDITOR = "Datastore.Audit Mapping.Audit Pool.Audit SDN.Audit Sys.Audit VM.Audit"
_AUDITOR += " VM.GuestAgent.Audit"
_ADMIN = f"{_VM_ADMIN} {_DATASTORE_ADMIN} {_POOL_ADMIN} {_SDN_ADMIN}"
_ADMIN += f" {_USER_ADMIN} {_MAPPING_ADMIN} {_SYS_ADMIN}"
_ONLY_ADMINISTRATOR = "Permissions.Modify Realm.Allocate Sys.AccessNetwork Sys.Incoming Sys.Modify"
_ONLY_ADMINISTRATOR += " Sys.PowerMgmt"

ROLES: dict[str, frozenset[str]] = {
    name: frozenset(privileges.split())
    for name, privileges in {
        "Administrator": f"{_ADMIN} {_ONLY_ADMINISTRATOR}",
        "NoAccess": "",
        "PVEAdmin": _ADMIN,
        "PVEAuditor": _AUDITOR,
        "PVEDatastoreAdmin": _DATASTORE_ADMIN,
        "PVEDatastoreUser": _DATASTORE_USER,
        "PVEMappingAdmin": _MAPPING_ADMIN,
        "PVEMappingAuditor": "Mapping.Audit",
        "PVEMappingUser": "Mapping.Audit Mapping.Use",
        "PVEPoolAdmin": _POOL_ADMIN,
        "PVEPoolUser": "Pool.Audit",
        "PVESDNAdmin": _SDN_ADMIN,
        "PVESDNUser": "SDN.Audit SDN.Use",
        "PVESysAdmin": _SYS_ADMIN,
        "PVETemplateUser": "VM.Audit VM.Clone",
        "PVEUserAdmin": _USER_ADMIN,
        "PVEVMAdmin": _VM_ADMIN,
        "PVEVMUser": _VM_USER,
    }.items()
}

PRIVILEGES: frozenset[str] = ROLES["Administrator"]
