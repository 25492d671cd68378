"""``lab secrets …``: the words of its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.cli.lazy import Documented, Family, Lazy
from lab.cli.options import SecretWord, Settings, as_json, common

if TYPE_CHECKING:
    from lab.cli import keeping
else:
    keeping = Lazy("lab.cli.keeping")

KINDS = ("password", "hex", "base64", "ssh-key", "wireguard", "age", "password-hash")
HASHES = ("sha512", "yescrypt")
TABLE = {
    "init": ("lab.cli.secrets:init", "Begin: your key, who may read, the hosts' keys."),
    "set": ("lab.cli.secrets:set_", "Give a secret its value."),
    "generate": ("lab.cli.secrets:generate", "Make a secret, once."),
    "get": ("lab.cli.secrets:get", "Show where a secret is kept and who uses it."),
    "list": ("lab.cli.secrets:list_", "List secrets and the hosts that use them."),
    "edit": ("lab.cli.secrets:edit", "Change secrets in your editor."),
    "rotate": ("lab.cli.secrets:rotate", "Replace a secret, then converge what used it."),
    "remove": ("lab.cli.secrets:remove", "Take away a secret that nothing uses."),
    "doctor": ("lab.cli.secrets:doctor", "Check keys, files and readers."),
}

to_file = click.option(
    "--file", metavar="FILE", help="Keep a new one in that file of secrets/ (default: its own)."
)


@click.group(cls=Family, table=TABLE, no_args_is_help=True)
@common
def secrets() -> None:
    """Keep passwords and keys encrypted in git.

    They stand in secrets/, in files of SOPS with age keys: upstream sops reads and writes them
    too. A lab file says !secret NAME where it needs one. Values are decrypted in memory only, and
    masked in whatever is written. You can read all of them, each host's own key only what that
    host uses.

    Examples:
      lab secrets init
      lab secrets set db_password
      lab secrets generate wifi_psk --length 20
      lab secrets list
      lab secrets doctor
    """


@click.command(cls=Documented)
@common
@click.pass_obj
def init(settings: Settings) -> int:
    """Begin: your key, who may read, the hosts' keys.

    Makes an age key for you where you have none (upstream's place: ~/.config/sops/age/keys.txt),
    writes secrets/operators.txt and .sops.yaml, gives every host that uses a secret a key of its
    own. Again it only adds what is missing.

    Examples:
      lab secrets init
    """
    return keeping.init(settings)


@click.command("set", cls=Documented)
@click.argument("name", type=SecretWord())
@to_file
@click.option("--no-input", is_flag=True, help="Never ask; refuse instead.")
@common
@click.pass_obj
def set_(settings: Settings, name: str, file: str | None, *, no_input: bool) -> int:
    """Give a secret its value.

    The value is asked for without showing it, or comes on standard input; never on the command
    line, where every user of this machine could read it.

    Examples:
      lab secrets set db_password
      lab secrets set tls_key < tls.key
      pass show wifi | lab secrets set wifi_psk --file house.yaml
    """
    return keeping.put(settings, name, file, no_input=no_input)


@click.command(cls=Documented)
@click.argument("name", type=SecretWord())
@click.option(
    "--kind", type=click.Choice(KINDS), default="password", show_default=True, help="What to make."
)
@click.option("--length", type=int, default=0, metavar="N",
              help="Characters of a password, random bytes of hex and base64.")  # fmt: skip
@click.option("--of", type=SecretWord(), metavar="SECRET", default="",
              help="With password-hash: the secret that holds the password.")  # fmt: skip
@click.option("--hash", "method", type=click.Choice(HASHES), default="sha512", show_default=True,
              help="With password-hash: the method.")  # fmt: skip
@to_file
@click.option("--no-input", is_flag=True, help="Never ask; refuse instead.")
@as_json
@common
@click.pass_obj
def generate(
    settings: Settings,
    name: str,
    *,
    kind: str,
    length: int,
    of: str,
    method: str,
    file: str | None,
    no_input: bool,
) -> int:
    """Make a secret, once.

    One that is there already is kept. Of a key pair the public half is printed, and stays readable
    as NAME_public beside the secret. A password-hash is made of another secret (made too, where
    there is none yet), or of a password that is asked for.

    Examples:
      lab secrets generate db_password
      lab secrets generate session_key --kind hex --length 32
      lab secrets generate deploy --kind ssh-key
      lab secrets generate ops_hash --kind password-hash --of ops_password
    """
    wanted = keeping.Wanted(kind, length, of, method)
    return keeping.generate(settings, name, wanted, file, no_input=no_input)


@click.command(cls=Documented)
@click.argument("name", type=SecretWord())
@click.option("--reveal", is_flag=True, help="Print the value itself, and nothing else.")
@as_json
@common
@click.pass_obj
def get(settings: Settings, name: str, *, reveal: bool) -> int:
    """Show where a secret is kept and who uses it.

    The value only with --reveal: then it goes to standard output as it is, also into a pipe or a
    file, without a line's end.

    Examples:
      lab secrets get db_password
      lab secrets get wifi_psk --reveal | qrencode -t ansi
    """
    return keeping.get(settings, name, reveal=reveal)


@click.command("list", cls=Documented)
@as_json
@common
@click.pass_obj
def list_(settings: Settings) -> int:
    """List secrets and the hosts that use them.

    Needs no key. A secret that is used and not there yet is listed without a file.

    Examples:
      lab secrets list
      lab secrets list --json
    """
    return keeping.every(settings)


@click.command(cls=Documented)
@click.argument("what", required=False, type=SecretWord(), metavar="[NAME|FILE]")
@common
@click.pass_obj
def edit(settings: Settings, what: str | None) -> int:
    """Change secrets in your editor.

    All values at once, or the file that a secret stands in, with its comments. The text lies in
    memory (tmpfs) while you edit, for you alone. What did not change keeps its ciphertext. Uses
    $SOPS_EDITOR, $VISUAL or $EDITOR.

    Examples:
      lab secrets edit
      lab secrets edit db_password
      lab secrets edit secrets/house.yaml
    """
    return keeping.edit(settings, what)


@click.command(cls=Documented)
@click.argument("name", required=False, type=SecretWord())
@click.option("--keys", is_flag=True, help="No value changes: every file gets a new key, and"
              " exactly the readers it should have.")  # fmt: skip
@click.option("--no-converge", is_flag=True, help="Leave the hosts for later.")
@click.option("-y", "--yes", is_flag=True, help="Converge without asking.")
@click.option("--no-input", is_flag=True, help="Never ask; refuse instead.")
@common
@click.pass_obj
def rotate(
    settings: Settings,
    name: str | None,
    *,
    keys: bool,
    no_converge: bool,
    yes: bool,
    no_input: bool,
) -> int:
    """Replace a secret, then converge what used it.

    What was generated is made again in the same way, with the hashes that were made of it; another
    value is asked for. Then the hosts that use it are planned and converged as by lab converge.
    With --keys instead of a name: after somebody left, or a key was lost.

    Examples:
      lab secrets rotate db_password
      lab secrets rotate db_password --yes
      lab secrets rotate --keys
    """
    if (name is None) != keys:
        raise click.UsageError("say which secret, or --keys for new keys of all files.")
    if name is None:
        return keeping.renew_keys(settings)
    return keeping.rotate(settings, name, converge=not no_converge, yes=yes, no_input=no_input)


@click.command(cls=Documented)
@click.argument("name", type=SecretWord())
@common
@click.pass_obj
def remove(settings: Settings, name: str) -> int:
    """Take away a secret that nothing uses.

    Older commits still hold it, for those who could read it then.

    Examples:
      lab secrets remove old_token
    """
    return keeping.remove(settings, name)


@click.command(cls=Documented)
@as_json
@common
@click.pass_obj
def doctor(settings: Settings) -> int:
    """Check keys, files and readers.

    Who can read what and should not, who should and cannot, what is damaged, used and missing,
    there and unused, or lies around in clear. Exit code 0: nothing stands in the way, 5: something
    fails.

    Examples:
      lab secrets doctor
      lab secrets doctor --json
    """
    return keeping.doctor(settings)
