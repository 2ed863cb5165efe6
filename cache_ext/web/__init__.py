"""The cache in Flask: the extension, decorators, commands."""
