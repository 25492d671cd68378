"""The answers, one family of the API a module; importing them registers them."""

from . import (
    access,
    agent,
    cloudinit,
    cluster,
    content,
    guest_clone,
    guest_config,
    guest_create,
    guest_delete,
    guest_disks,
    guest_lists,
    guest_power,
    nodes,
    pools,
    storage,
    tasks,
)

__all__ = [
    "access",
    "agent",
    "cloudinit",
    "cluster",
    "content",
    "guest_clone",
    "guest_config",
    "guest_create",
    "guest_delete",
    "guest_disks",
    "guest_lists",
    "guest_power",
    "nodes",
    "pools",
    "storage",
    "tasks",
]
