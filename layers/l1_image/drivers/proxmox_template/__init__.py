"""Templates of Proxmox VE: built here or fetched by the node, imported as a VM, made a template.

``driver`` is the whole of it seen from above; ``making`` brings one about, looking before each
step; ``shelf`` is the node's side, ``records`` what this machine remembers.
"""
