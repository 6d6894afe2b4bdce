"""Measurements of Accanto beside named peers and floors: ``make bench [ONLY=name]``.

Every figure is a ratio to something that ran in the same minutes on the same machine; nothing
here is an assertion, and nothing here runs in the test suite.
"""
