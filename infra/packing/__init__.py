"""A pack of cells trained together as stacked tensors. Without Ray."""
