"""Cancels orders with a journal until it is killed: the orders' ids come on stdin."""

import sys

from bitopro_auth import Credentials
from bitopro_orders import Journal, cancel_many, connect
from tests.many.support import FAST, PAIR, named

base_url, key, secret, identity, path, at_once = sys.argv[1:]
with connect(Credentials(key, secret, identity), base_url=base_url, policy=FAST) as client:
    with Journal(path) as journal:
        orders = [(PAIR, line.strip()) for line in sys.stdin]
        for end in cancel_many(client, orders, at_once=int(at_once), journal=journal):
            print(named(end), flush=True)
