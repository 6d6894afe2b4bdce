"""Media and its sealed store. The only package that uses aiortc, in processes of their own."""
