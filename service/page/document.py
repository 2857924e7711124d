"""The frame of the service's small pages: no script, no request to anywhere."""

from html import escape

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath fill='%230b6bcb' d='M1 1h6v6H1zM9 9h6v6H9z'/%3E"
    "%3Cpath fill='%23f08c00' d='M9 1h6v6H9zM1 9h6v6H1z'/%3E%3C/svg%3E"
)
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;"
    "padding:0 1rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}"
)


def document(title: str, body: str) -> str:
    """A complete HTML page. `title` is text, `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="{_ICON}">'
        f"<title>{escape(title)} · Convscope</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
