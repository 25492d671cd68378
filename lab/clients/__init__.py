"""Thin typed clients that two or more layers need. They know programs and protocols, no lab."""
