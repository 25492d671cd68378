"""Who is asked what, and when nobody is."""

import pytest

from lab.cli.approval import Consent, confirm, decide
from lab.errors import Destructive, PlanError


class Person:
    """Gives these answers and remembers the questions."""

    def __init__(self, *answers):
        self.answers, self.questions = list(answers), []

    def __call__(self, question):
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else ""


def nobody(question):
    raise AssertionError(question)


@pytest.mark.parametrize(("answer", "go"), [("y", True), ("YES", True), ("", False), ("n", False)])
def test_a_harmless_plan_needs_one_yes(scene, answer, go):
    person = Person(answer)
    decision = decide(scene.harmless(), Consent(can_ask=True), person, "demo")
    assert (decision.go, decision.allow_destroy) == (go, False)
    assert person.questions == ["Apply this plan? [y/N] "]


def test_a_loss_needs_the_name_as_well(scene):
    person = Person("y", "web1")
    decision = decide(scene.pending(), Consent(can_ask=True), person, "demo")
    assert decision.go
    assert decision.allow_destroy
    assert decision.names == {"web1"}
    assert person.questions[1] == "Type web1 to confirm: "


@pytest.mark.parametrize("typed", ["", "y", "yes", "web2", "WEB1"])
def test_anything_but_the_name_stops(scene, typed):
    assert not decide(scene.pending(), Consent(can_ask=True), Person("y", typed), "demo").go


def test_yes_never_stands_for_the_name(scene):
    with pytest.raises(Destructive) as refused:
        decide(scene.pending(), Consent(yes=True), nobody, "demo")
    assert "--confirm web1" in refused.value.hint
    person = Person("web1")
    assert decide(scene.pending(), Consent(yes=True, can_ask=True), person, "demo").go
    assert person.questions == ["Type web1 to confirm: "]


def test_allow_destroy_alone_still_asks_for_the_name(scene):
    person = Person("y", "nope")
    consent = Consent(allow_destroy=True, can_ask=True)
    assert not decide(scene.pending(), consent, person, "demo").go


def test_a_name_given_beforehand_is_not_asked_for(scene):
    consent = Consent(yes=True, allow_destroy=True, names=frozenset({"web1"}))
    assert decide(scene.pending(), consent, nobody, "demo").go


def test_without_a_person_the_plan_is_refused_with_the_way_out(scene):
    with pytest.raises(PlanError) as refused:
        decide(scene.harmless(), Consent(), nobody, "demo")
    assert "--yes" in refused.value.hint


def test_many_names_are_replaced_by_the_labs(scene):
    hosts = [f"web{n}" for n in range(12)]
    person = Person("demo")
    decision = confirm(hosts, Consent(can_ask=True), person, "demo")
    assert decision.go
    assert decision.names == set(hosts)
    assert person.questions == ["Type demo to confirm: "]
