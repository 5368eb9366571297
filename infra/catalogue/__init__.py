"""MLflow as the catalogue of what the rows say."""
