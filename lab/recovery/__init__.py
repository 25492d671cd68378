"""Capture, restore, rebuild, drill: what stands beside the layers and keeps data through them.

Nothing here knows a layer by its name; what a host keeps comes from :mod:`lab.config.datasets`, how
it is reached from what the layers hand up.
"""
