"""A data set to publish with a paper: tidy Parquet, its dictionary, and the texts around it."""

LICENCE = "CC-BY-4.0"  # of an export, unless another is asked for
