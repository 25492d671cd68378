"""Beginning a lab: a new one in an empty folder, or hosts that other tools know already.

Here belongs what writes a lab's first files. Only new files are written; nothing here prints.
"""
