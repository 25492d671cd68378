"""What people see, as pure functions: values in, lines of styled text out.

Nothing here prints, asks, reads the clock or looks at the terminal: a ``Look`` tells the width and
whether Unicode may be used.
"""
