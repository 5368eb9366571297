"""Outcomes of trainings -> the critical width m*(n) and its law. The door is ``fitting``."""
