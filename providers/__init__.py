"""The vendors: what they offer, what it costs, how they answer. Pure, but for ``http.py``."""
