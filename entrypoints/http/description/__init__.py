"""The description of the API: an OpenAPI document, made of the types that requests are decoded by, and a page of it."""
