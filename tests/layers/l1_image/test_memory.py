from layers.l1_image import planner
from layers.l1_image.drivers.memory import MemoryDriver


def test_what_is_applied_is_there(workspace, target_of):
    driver, target = MemoryDriver(workspace), target_of({"base": "debian-13"})
    assert driver.observe(target) is None
    (change,) = planner.plan(target, None, driver.replace_on).changes
    driver.apply(target, change)
    assert not planner.plan(target, driver.observe(target), driver.replace_on)
    outputs = planner.outputs(target, driver.observe(target))
    assert outputs.template_name == target.spec.name
