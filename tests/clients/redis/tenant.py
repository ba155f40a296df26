"""An ordinary client of a cluster: redis-py, with a tenant's user. Prints what it met.

Arguments: port of any node, user, password, the tenant's prefix.
"""

import sys

from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

port, user, password, prefix = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
names = [f"{prefix}{number}" for number in range(100)]


def connected(**settings):
    return RedisCluster(host="127.0.0.1", port=port, username=user, password=password, **settings)


try:
    client = connected()
    for name in names:
        client.set(name, name)
    found = [name for name in names if client.get(name) == name.encode()]
    # A replica may be behind: that it answers is all that is asked.
    behind = connected(read_from_replicas=True)
    for name in names:
        behind.get(name)
    print("served", len(found))
except (RedisError, RedisClusterException) as error:
    print("refused", type(error).__name__)
