"""Fixtures of these tests."""
from programs import certificate, start  # noqa: F401
