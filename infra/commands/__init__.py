"""The command ``widthlaw``: what one does with results that are there."""
