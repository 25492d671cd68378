"""This machine, looked at in a tenth of a second: tools, KVM, room and ports."""
