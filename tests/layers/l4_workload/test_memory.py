from layers.l4_workload import LAYER, planner
from layers.l4_workload.drivers.memory import MemoryDriver

NOTHING = frozenset[str]()


def test_created_found_again_and_deleted(target_of, workspace):
    driver = MemoryDriver(workspace)
    target = target_of()
    assert driver.observe(target) is None

    (change,) = planner.plan(target, None, NOTHING).changes
    driver.apply(target, change)
    assert not planner.plan(target, MemoryDriver(workspace).observe(target), NOTHING)

    absent = target_of(absent=True)
    (change,) = planner.plan(absent, driver.observe(absent), NOTHING).changes
    driver.apply(absent, change)
    assert driver.observe(absent) is None


def test_the_layer_knows_both_drivers(workspace):
    for make in LAYER.drivers.values():
        assert make(workspace).replace_on == NOTHING
