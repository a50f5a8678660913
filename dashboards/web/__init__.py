"""The page served live: the views and templates of `page/`, made anew for every request.

settings     where it listens        app      addresses, headers and errors
server       runs it until it is asked to end

The open store, and whether it is still there, is in `dashboards/shelf.py`; what is kept from one request to the next in
`dashboards/page/kept.py`.
"""
