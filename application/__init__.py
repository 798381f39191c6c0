"""The use-cases: one callable each, with its ports passed in, domain types in and out."""
