"""A run as data: strict models (`models`), and YAML in and out (`reading`)."""
