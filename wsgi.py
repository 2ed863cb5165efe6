"""The application that gunicorn serves and that `flask` finds by itself."""

from shivx import create_app

app = create_app()
