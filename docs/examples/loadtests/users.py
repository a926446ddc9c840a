"""The users of every example. Where they are is the target's; what must hold is the gate's."""

from stormgate.load import GeoUser, get, post


class Reader(GeoUser):
    weight = 9
    rate_per_s = 10

    def flow(self, session):
        yield get("/", name="home", timeout_s=2)


class Writer(GeoUser):
    weight = 1
    rate_per_s = 10

    def flow(self, session):
        yield post("/items", name="create item", json={"text": "hello"}, timeout_s=2)
