"""Templates made on this machine: mmdebstrap to a tree, the tree to a disk that boots by itself.

Everything works as an ordinary user with subordinate ids, and as root; nothing is mounted on this
machine and no loop device is used.
"""
