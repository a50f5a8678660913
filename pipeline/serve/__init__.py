"""Answer queries from one generation: a picture or a vector in, the nearest products with all their offers out.

front.py, query.py  the way from a picture to an object, its category and the indexes that are searched
shelf.py, items.py, generation.py  a release as it is searched; answer.py what programs get, contact_sheet.py people
ranking.py, rerankers.py  what happens to neighbours before they are an answer; objects.py what an id is
slots.py (rules), loader.py (checks), holder.py (threads)  two generations, and how the next one comes in
app.py, routes.py, searching.py, admission.py, limits.py, refusal.py, turned_away.py, prom.py, feedback.py  HTTP
candidate.py, under_test.py, judged_order.py, hidden.py  the same chain as the gate asks it
To add a re-ranker see rerankers.py; to add an address, routes.py. Nothing but app.py and routes.py knows of HTTP's
library. Split so that the gate, the command line and the server ask through the same chain, batch or single.
"""
