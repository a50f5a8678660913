"""Day shards, their merge and their search: pure functions over arrays and bytes.

One inverted-file (IVF) index per category. Its coarse quantizer is trained once; each day gives a
shard, an immutable index built on that quantizer; a window of shards merges into the index that is
released. Everything that leaves this folder is canonical: each inverted list is sorted by id, so
equal content has equal bytes and one sha256. faiss is imported by this folder only.

quantizer.py  training, fingerprint, bytes        lists.py  canonical reading and writing of lists
shard.py      one day's rows to an index          merge.py  the contract that shards must keep
search.py     canonically ranked k-NN, ANN and exact
"""
