"""Machines of Proxmox VE, made and changed by OpenTofu (or Terraform) with bpg/proxmox.

``driver`` is the whole of it seen from above. ``guests``, ``shelf`` and ``seed`` talk to the API;
``rendering`` is pure; ``program``, ``stream``, ``planned`` and ``project`` know tofu and nothing of
machines. Nothing here is imported by another driver.
"""

from layers.l2_instantiate.drivers.terraform.driver import TerraformDriver

__all__ = ["TerraformDriver"]
