"""A shop in Flask with `cache_ext`: ``flask --app examples.flask_app run``."""

import os

from flask import Flask, abort

from cache_ext import CacheExt

app = Flask(__name__)
app.config["CACHE_EXT_REDIS_URL"] = os.environ.get("REDIS_URL", "memory://")
ext = CacheExt(app)
prices = {"apple": 3, "pear": 4}  # stands for the database


@ext.memoize(ttl=60, tags=["fruit:{name}"])
def price(name: str) -> int | None:
    """Ask the database: once a minute for each name, whoever and however many ask."""
    return prices.get(name)


@app.get("/fruit/<name>")
@ext.cached(ttl=60)  # the page ends with the price that it is made of
def show(name: str) -> dict[str, object]:
    """Show a price."""
    return {"name": name, "price": price(name) or abort(404)}


@app.put("/fruit/<name>/<int:new>")
def change(name: str, new: int) -> dict[str, object]:
    """Change a price: nobody, in any process, is shown the old one afterwards."""
    prices[name] = new
    ext.cache.invalidate_tags(f"fruit:{name}")
    return {"name": name, "price": new}
