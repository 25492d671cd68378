"""The file format of SOPS: YAML, JSON and dotenv with encrypted values, as upstream writes it.

Nothing here knows what a lab is. ``document`` is the way in; it reads and writes whole files.
"""
