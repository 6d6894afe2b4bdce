"""Media and its sealed store. The only package that will use aiortc; today it holds the vault."""
