"""One module, or package, a backend."""
