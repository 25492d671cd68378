"""Folders that the lab's YAML names: beside the file that names them, in the lab, elsewhere."""

import pytest

from lab.config.files import LabReader
from lab.config.tree import Place, PlacedText


def placed(text, file="personas/web.yaml"):
    value = PlacedText(text)
    value.place = Place(file, 1, 1)
    return value


@pytest.fixture
def reader(lab_dir):
    def make(*files):
        return LabReader(lab_dir(dict.fromkeys(files, "x")))

    return make


def test_the_one_beside_the_persona_beats_that_of_the_lab(reader):
    made = reader("personas/web/roles/a/tasks/main.yml", "roles/a/x", "roles/b/y")
    assert made.folder(placed("a"), "roles").path == "personas/web/roles/a"
    assert made.folder(placed("b"), "roles").names() == ("y",)
    assert made.folder(placed("a", "personas/db.yaml"), "roles").path == "roles/a"


def test_one_outside_the_lab_is_named_and_not_read(reader, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c").mkdir()
    (elsewhere / "c/secret").write_text("x")
    tree = reader("x").folder(placed("c"), "roles", (str(elsewhere),))
    assert (tree.path, tree.files) == (str(elsewhere / "c"), ())


def test_what_is_nowhere_is_told_with_where_it_was_looked_for_and_the_nearest(reader):
    with pytest.raises(ValueError, match=r"no 'hardning' in .*roles/.*did you mean 'hardening'"):
        reader("roles/hardening/x").folder(placed("hardning"), "roles")


@pytest.mark.parametrize("name", ["../x", "a/../../b", ""])
def test_nothing_leads_out_of_the_lab(reader, name):
    with pytest.raises(ValueError, match=r"without '\.\.'|there is no|folder of its own"):
        reader("x").folder(placed(name), "roles")


def test_a_link_that_leads_out_is_refused(reader, tmp_path_factory):
    made = reader("roles/x")
    (made.root / "roles/out").symlink_to(tmp_path_factory.mktemp("out"))
    with pytest.raises(ValueError, match="leads out of the lab"):
        made.folder(placed("out"), "roles")
