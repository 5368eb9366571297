"""A metric over an axis -> a power law y = a x^e + c. The door is ``fitting``."""
