"""One module a backend. Drivers do I/O, raise only LabErrors, and never print."""
