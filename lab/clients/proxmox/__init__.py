"""The API of Proxmox VE 8 and 9: a thin client over proxmoxer that never skips verification.

``Apis`` is the pool of a run, ``Api`` one cluster, ``tasks.wait`` follows a task to its end. What a
layer makes of the answers stands in that layer. The library is imported in ``connection`` alone.
"""

from lab.clients.proxmox.access import Access, Sent
from lab.clients.proxmox.api import Api
from lab.clients.proxmox.failures import Refused, TaskFailed, TaskLost, Unclear
from lab.clients.proxmox.pool import Apis, apis
from lab.clients.proxmox.privileges import Privileges
from lab.clients.proxmox.tasks import Finished, begun, said, wait
from lab.clients.proxmox.things import Storage, Vm, Volume

__all__ = [
    "Access",
    "Api",
    "Apis",
    "Finished",
    "Privileges",
    "Refused",
    "Sent",
    "Storage",
    "TaskFailed",
    "TaskLost",
    "Unclear",
    "Vm",
    "Volume",
    "apis",
    "begun",
    "said",
    "wait",
]
