"""The page for those without Kibana: a folder of files that open from disk, or the same served live.

desk, gather, sums   read the store, each thing once    cards, sources, handed   what other folders tell
facts                what is known of a day: frozen     links, routes            which pages there are, and where
relations, compared, matrix, pairs, funnels, layered    what the facts mean: pure
view_*               what one kind of page shows        render, templates/       HTML, escaped, with SVG drawn here
static               writes a folder of pages

Recipe, a page: a module view_NAME with `page(desk, ...)` and `paths(desk)`, its template that extends base.html.j2,
and its row in `routes.routes`. Every number of the store stands in an element with `data-fact` and `data-value`.
"""
