"""Roles and playbooks that users already have, unchanged, through ansible-runner.

``worker`` is a program of its own: the only module that imports ansible-runner, and no thread of
ours is ever forked. ``callback_plugins`` is loaded by Ansible.
"""
