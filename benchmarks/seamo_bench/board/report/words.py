"""Small words of the page: numbers as readers count and doubt them."""


def plural(count: int, word: str) -> str:
    """`1 column`, `2 columns`."""
    return f"{count:,} {word if count == 1 else word + 's'}"
