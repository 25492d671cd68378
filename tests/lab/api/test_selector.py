"""Which hosts a command is about."""

import pytest

from lab.api.selector import select
from lab.errors import ConfigError
from lab.model.host import Host

HOSTS = (
    Host("web1", "web", "box", tags=frozenset({"edge"})),
    Host("web2", "web", "pve"),
    Host("db1", "db", "pve", tags=frozenset({"edge"})),
)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["web1", "web2", "db1"]),
        (("host=web1",), ["web1"]),
        (("persona=web",), ["web1", "web2"]),
        (("persona=web,provider=pve",), ["web2"]),
        (("persona=web", "provider=pve"), ["web2"]),
        (("host=web1,host=db1",), ["web1", "db1"]),
        (("tag=edge",), ["web1", "db1"]),
    ],
)
def test_what_is_selected(words, names):
    assert [h.name for h in select(HOSTS, words)] == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("web1",), "'web1' is not a selector: write host=web1"),
        (("hots=web1",), "unknown selector 'hots'; did you mean 'host'?"),
        (("host=web3",), "no host has host=web3; did you mean 'web2'?"),
        (("host=web1,provider=pve",), "no host matches all of host=web1,provider=pve"),
        (("host=",), "'host=' is not a selector"),
    ],
)
def test_what_is_refused(words, message):
    with pytest.raises(ConfigError) as caught:
        select(HOSTS, words)
    assert message in caught.value.message
