"""`python -m bitopro_orders.cli`."""

from . import main

main()
