"""The host's side: the scripts that are sent there, and reading what they answer. No I/O here.

POSIX sh only. The host needs an engine, Compose v2, and curl or the docker command line; curl is
preferred, because asking the engine's socket costs a tenth of what starting ``docker`` does.
"""
