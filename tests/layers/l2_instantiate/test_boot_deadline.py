"""How long a boot may take comes from the provider, and survives the ledger."""

import pytest
from pydantic import ValidationError

from layers.l2_instantiate.planner import parts
from layers.l2_instantiate.spec import Document, Spec

MACHINE = {"cpu": 1, "memory": "512MiB", "disks": {"root": {"size": "8GiB"}}}


def document(deadline):
    provider = {"kind": "qemu", "boot_deadline": deadline}
    return Document.model_validate({"provider": provider, "machine": MACHINE})


def test_it_is_handed_to_the_driver_and_read_back_from_the_ledger():
    (part,) = parts(document("12s"))
    assert part.spec.boot_deadline == 12
    assert Spec.model_validate_json(part.spec.model_dump_json()) == part.spec


def test_a_number_without_a_unit_is_refused():
    with pytest.raises(ValidationError, match="write it like 90s"):
        document(12)
