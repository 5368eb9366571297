"""What the papers claim, as data, and a law held against it."""
