"""Vectors → neighbours, without torch: an index folder (FAISS files, ids, texts, manifest) and the search in it.

`plan.py` chooses a FAISS family, `families.py` knows what each can do, `grow.py` trains and fills it, `checks.py` looks
at what comes in, `build.py` writes the folder whole or not at all, `shards.py` and `store.py` open it, `search.py`
answers queries (`exact.py`, `candidates.py`, `order.py`), `tune.py` reaches a recall, `generations.py`, `update.py` and
`join.py` change it, `mine.py` finds hard negatives with it.
"""
