"""Day shards, their merge and their search: pure functions over arrays and bytes.

One inverted-file (IVF) index per category. Its coarse quantizer is trained once; each day gives a
shard, an immutable index built on that quantizer; a window of shards merges into the index that is
released. Everything that leaves this folder is canonical: each inverted list is sorted by id, so
equal content has equal bytes and one sha256. faiss is imported by this folder only.

codec.py quantizer.py  training, fingerprint     lists.py     canonical reading and writing of rows
shard.py contract.py   a day's rows, and what     merge.py     virtual first (virtual.py), then on disk
                       their merge asks of them   search.py    canonically ranked k-NN, ANN and exact
wrapped.py opened.py   what all of these take     drift.py     how well frozen centroids still fit
"""
