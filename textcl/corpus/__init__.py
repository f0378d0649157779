"""Files → texts, pairs and judged collections.

`readers` opens any supported file as a memory-mapped table, `collection` reads BEIR folders and TREC judgements, and
`tokens` turns texts into token rows. Whatever is wrong with a file is named here, with its line, before work starts.
"""
