"""Schedules, and the optimizer of class tables."""
