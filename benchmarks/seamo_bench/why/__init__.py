"""Why two numbers differ: the facts in which they do, what each of them moves, and what stays unexplained."""
