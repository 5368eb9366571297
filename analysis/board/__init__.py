"""Every claim of a family beside what the rows say of it."""
