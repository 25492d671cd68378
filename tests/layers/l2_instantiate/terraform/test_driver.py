"""The driver on the stand-in, through a tofu that is a program of these tests."""


def test_from_nothing_to_a_machine_that_answers(on_pve):
    assert on_pve.converge() == ["create disk data", "create machine"]
    assert on_pve.converge() == []
