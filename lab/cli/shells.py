"""Completion scripts: click's for zsh and fish, our own for bash.

Bash splits the words of a command line at ``=`` and hands completion the pieces, so ``host=we``
arrives as three words. Our script sends the line itself, and takes off again what bash keeps.
"""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_LAB_COMPLETE"

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' typed="${COMP_LINE:0:$COMP_POINT}" word kept="" line
    word="${typed##*[[:space:]]}"
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        kept="${word%%=*}="
    fi
    COMPREPLY=()
    for line in $(LAB_LINE="$typed" %(complete_var)s=bash_complete "$1" 2>/dev/null); do
        case "$line" in
            file,*) compopt -o default ; continue ;;
            dir,*) compopt -o dirnames ; continue ;;
        esac
        line="${line#plain,}"
        [[ "$line" == *= ]] && compopt -o nospace
        COMPREPLY+=("${line#"$kept"}")
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class BashLine(ShellComplete):
    """Bash, told by the whole line up to the cursor."""

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words before the cursor, and the one being typed."""
        typed = os.environ.get("LAB_LINE", "")
        words = split_arg_string(typed)[1:]
        if not words or typed[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem[str]) -> str:
        """``plain,host=web1``."""
        return f"{item.type},{item.value}"


def register() -> None:
    """Let click answer our bash script."""
    add_completion_class(BashLine)


def script(shell: str) -> str:
    """What ``lab completion SHELL`` prints."""
    register()
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    # Only the text is asked for: no command is needed to make it.
    return kind(click.Command("lab"), {}, "lab", VARIABLE).source()
