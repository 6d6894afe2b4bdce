"""What the law gives the people whose data are here.

A copy of all of it (GDPR art. 15), the history of their consents, and the facts of the processing
(art. 13, 30 and 35). Rectification (art. 16) is :mod:`server.cup.rectify`: the rules of who is who
are those of the link with CUP.
"""
