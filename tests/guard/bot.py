"""A bot that guards itself and waits for its Ctrl-C."""

import sys
import time

from bitopro_auth import Credentials
from bitopro_orders import Scope, connect, guard
from tests.many.support import FAST

base_url, key, secret, identity = sys.argv[1:]
with connect(Credentials(key, secret, identity), base_url=base_url, policy=FAST) as client:
    try:
        with guard(client, Scope(), after=60):
            print("armed", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
