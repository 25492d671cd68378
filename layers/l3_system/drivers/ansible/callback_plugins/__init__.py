"""Loaded by Ansible, inside its process: nothing else may stand in this folder."""
