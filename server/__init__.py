"""The web application: pages, people, records. Composes everything."""
