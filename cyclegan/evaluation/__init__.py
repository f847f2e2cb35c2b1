"""How like the truth a translation is: metrics, pairs, and the scores over them."""
