"""Small words of the page: numbers as readers count and doubt them."""


def p_text(p: float | None) -> str:
    """A p value: three digits, and `< 0.001` rather than a zero that it is not."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def plural(count: int, word: str) -> str:
    """`1 column`, `2 columns`."""
    return f"{count:,} {word if count == 1 else word + 's'}"
