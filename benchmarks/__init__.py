"""How fast the package cancels, next to the others: `make bench`."""
