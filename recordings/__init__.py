"""Media and its sealed store. The only package that uses aiortc, and never in the process that serves."""
