"""The driver through the real tofu and the real provider, on the stand-in."""


def test_from_nothing_to_a_machine_that_answers(really_on_pve):
    assert really_on_pve.converge() == ["create disk data", "create machine"]
    assert really_on_pve.converge() == []
