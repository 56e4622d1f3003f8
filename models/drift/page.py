"""The report as one file that opens without a network: Evidently's page beneath our verdict, compressed.

Evidently's own code, with the library that draws, is 3.5 MB of each page, and rows that it draws come on top. A browser
unpacks gzip by itself (`DecompressionStream`, in all of them since 2023), so the file is a short page that unpacks the
whole one and takes its place. It asks nobody for anything, and runs also where a frame allows it scripts alone.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

MOST_BYTES = 2_000_000
_PACKED = re.compile(r'<script type="application/gzip" id="packed">([^<]*)</script>')
_OUTER = """<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1.0"></head>
<body>{verdict}<p id="wait">The figures below are being unpacked; they need a browser that runs scripts.</p>
<script type="application/gzip" id="packed">{packed}</script>
<script>
(async () => {{
  const text = atob(document.getElementById("packed").textContent);
  const packed = new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))]);
  const page = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.open(); document.write(page); document.close();
}})().catch((error) => {{ document.getElementById("wait").textContent = "This page cannot be unpacked: " + error; }});
</script></body></html>
"""
_STYLE = "<style>.verdict{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;padding:0 1rem}"
_STYLE += ".verdict td,.verdict th{padding:.15rem .8rem .15rem 0;text-align:left}.verdict .yes{color:#b00020}</style>"


def write(path: Path, title: str, verdict: str, evidently: str) -> int:
    """Writes the page of a window; gives its size in bytes.

    Args:
        path: the file; its folder is made.
        title: of the page.
        verdict: HTML that stands above Evidently's part, and is readable without scripts.
        evidently: a whole page.
    """
    whole = re.sub(r"<body[^>]*>", lambda body: body.group() + verdict, evidently, count=1)
    packed = base64.b64encode(gzip.compress(whole.encode(), 9, mtime=0)).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_text(_OUTER.format(title=escape(title), verdict=verdict, packed=packed), encoding="utf-8")


def unpacked(page: str) -> str:
    """The whole page that a written one turns into."""
    found = _PACKED.search(page)
    return gzip.decompress(base64.b64decode(found.group(1))).decode() if found else page


def verdict_html(title: str, said: str, columns: Sequence[dict[str, Any]]) -> str:
    """The verdict and its columns, as HTML: what drifted first, with its distance and what is usual.

    Args:
        title: heading.
        said: the verdict in words.
        columns: as in `ops.drift_columns`.
    """
    rows = "".join(
        f"<tr class='{'yes' if row['drifted'] else 'no'}'><td>{'drifted' if row['drifted'] else ''}</td>"
        f"<td>{escape(row['kind'])}</td><td>{escape(row['column_name'])}</td><td>{_figure(row['distance'])}</td>"
        f"<td>{_figure(row['threshold'])}</td><td>{_figure(row['p_value'])}</td>"
        f"<td>{escape(row['suppressed'] or row['detail'].get('said', ''))}</td></tr>"
        for row in columns
    )
    return (
        f"{_STYLE}<div class='verdict'><h1>{escape(title)}</h1><p>{escape(said)}</p><table><tr><th></th><th>kind</th>"
        f"<th>column</th><th>distance</th><th>allowed</th><th>p</th><th></th></tr>{rows}</table></div>"
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
