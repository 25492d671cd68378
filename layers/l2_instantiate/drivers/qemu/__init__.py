"""Machines as QEMU processes on this machine: no root, no daemon, nothing but files and one pid.

``driver`` observes and dispatches; ``building`` makes what lies on disk; ``power`` starts, awaits
and stops; ``folder``, ``process``, ``images``, ``seed``, ``command`` each know one thing.
"""

from layers.l2_instantiate.drivers.qemu.driver import QemuDriver

__all__ = ["QemuDriver"]
