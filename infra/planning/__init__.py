"""Axes -> cells -> packs, and the memory they may take. Nothing here trains."""
