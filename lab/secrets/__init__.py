"""Secrets of a lab: SOPS files with age recipients, readable and writable by upstream ``sops``.

Belongs here: the files below ``secrets/``, whose keys open them, and who may read which. Does not
belong here: which host uses which secret (the loaded lab says that), and asking or printing.
Decrypted values stay in memory; only an editor gets them, on tmpfs.
"""
