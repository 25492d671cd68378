"""Pure: the systemd user unit that starts a lab's machines when this machine comes up."""

from __future__ import annotations

from pathlib import PurePath

_CONVERGE = ("converge", "l2", "--through", "--yes", "--no-input")


def unit_name(lab: str) -> str:
    """The unit's file name, which belongs into ``~/.config/systemd/user``."""
    return f"strata-{lab}.service"


def unit_text(lab: str, program: PurePath, root: PurePath) -> str:
    """The unit: one converge of the machines, by the rules of every other run.

    It never answers a question, so whatever would destroy something waits for a person. It is a
    user's unit: ``loginctl enable-linger`` lets it run before anybody has logged in.
    ``KillMode=process`` leaves the machines running when the unit is through.
    """
    words = (str(program), "-C", str(root), *_CONVERGE)
    command = " ".join(_quoted(word) for word in words)
    return f"""\
[Unit]
Description=Machines of the lab {lab} (Strata)
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
KillMode=process
ExecStart={command}
TimeoutStartSec=30min

[Install]
WantedBy=default.target
"""


def _quoted(word: str) -> str:
    """One word of ExecStart: systemd expands ``%`` and ``$`` also between quotes."""
    for sign, meant in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(sign, meant)
    return f'"{word}"'
