"""Images of containers that start like machines: mmdebstrap to a tree, the tree into an engine.

Nothing is ever asked of a registry.
"""
