"""SVG, drawn by us: scales and axes, then a module a kind of chart."""
