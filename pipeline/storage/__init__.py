"""Which bytes of old days are still needed, and how the others are let go. Rows and places never change.

`holdings` finds the files that hold bytes of pictures, `needed` and `pending` say of which pictures they must stay,
`thin` rewrites one file, `kept` is the sidecar beside it, `reclaim` puts them together for one file, `survey` looks
without touching.
Only the task `reclaim` and `funnelgate evict storage` come here. A further kind of file: its task in `holdings.WRITERS`
and, if it is no pack and no column of vectors, a way to thin it.
"""
