"""Answer queries from one generation: a picture in, its main object's neighbours with all their offers out.

front.py       what a release says of the way from a picture to an object with a category; checked against the disk
query.py       that way: the object, its crop, its category, and which indexes are searched
generation.py  the indexes; answer.py what programs get; contact_sheet.py what people see; objects.py what an id is
Split so that the gate, the command line and a server ask through the same chain, batch or single.
"""
