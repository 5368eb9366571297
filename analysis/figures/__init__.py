"""Laws -> axes. Nothing is fitted here."""
