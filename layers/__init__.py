"""What can be converged: five layers, and the order they are converged in.

A layer meets another only as data that is handed up. To add a driver, see docs/add-a-driver.md.
"""

from layers import l0_runway, l1_image, l2_instantiate, l3_system, l4_workload

LAYERS = (
    l0_runway.LAYER,
    l1_image.LAYER,
    l2_instantiate.LAYER,
    l3_system.LAYER,
    l4_workload.LAYER,
)
