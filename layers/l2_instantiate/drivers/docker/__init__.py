"""Machines as containers of a Docker engine on this machine: systemd and sshd, up in a second.

``driver`` observes and dispatches; ``building`` makes and removes; ``power`` starts, awaits and
stops; ``place``, ``containers``, ``volumes``, ``body``, ``injection`` each know one thing.
"""

from layers.l2_instantiate.drivers.docker.driver import DockerDriver

__all__ = ["DockerDriver"]
