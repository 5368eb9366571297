"""A data set to publish with a paper: tidy Parquet, its dictionary, and the texts around it."""
