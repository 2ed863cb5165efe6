"""The application that gunicorn serves and that `flask` finds by itself."""

import gc

# What is imported stays: looking through it for garbage again and again would take a fifth of the start, and
# later hold up requests.
gc.disable()

from shivx import create_app  # noqa: E402

app = create_app()
gc.freeze()
gc.enable()
