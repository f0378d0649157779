"""Vectors → neighbours, without torch: an index folder (FAISS file, ids, texts, manifest) and the search in it.

`build.py` writes the folder whole or not at all, `store.py` opens and checks it, `search.py` answers queries.
"""
