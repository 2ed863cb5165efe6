"""/openapi.json: what the API is, made of the types and rules by which it works."""
