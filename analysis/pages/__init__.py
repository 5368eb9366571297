"""Laws and verdicts -> HTML pages, LaTeX tables, and words for the terminal."""
