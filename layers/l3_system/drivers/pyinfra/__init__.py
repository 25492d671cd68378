"""Deploys that users already have, unchanged, through pyinfra.

``worker`` is a program of its own, the only module that imports pyinfra: its State is global to a
process, and gevent does not live with threads. It is started by its path, so that none of our own
layers is imported there.
"""
