"""How the report looks, in the light and in the dark.

Invariant: it loads nothing; a picture has its colours from here alone.
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #566172; --paper: #ffffff; --line: #d9dee6; --tile: #f4f6f9;
  --blue: #3568a8; --orange: #c44f12; --green: #2f7d5b; --red: #a3202f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a3adbb; --paper: #14181e; --line: #323a46;
  --tile: #1d232c;
  --blue: #7aaee8; --orange: #f29355; --green: #6cc49b; --red: #ff8a94; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; }
h1 .name { color: var(--soft); font-weight: 400; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.digest { color: var(--soft); font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .78rem;
  overflow-wrap: anywhere; margin: .3rem 0 1.4rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .7rem; margin: 0 0 1.6rem; }
.tiles div { background: var(--tile); border-radius: .5rem; padding: .7rem .9rem; }
.tiles dt, .tiles dd { margin: 0; color: var(--soft); font-size: .82rem; }
.tiles .figure { color: var(--ink); font-size: 1rem; font-weight: 600;
  font-variant-numeric: tabular-nums; }
figure { margin: 0 0 1.4rem; }
figcaption { color: var(--soft); font-size: .85rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .tick { stroke: var(--soft); }
svg .calibration { fill: var(--blue); }
svg .tested { fill: none; stroke: var(--green); stroke-width: 1.6; }
svg .outliers { fill: var(--orange); fill-opacity: .28; stroke: var(--orange); stroke-width: 1.6; }
svg .threshold { stroke: var(--red); stroke-width: 1.8; stroke-dasharray: 6 4; }
svg .threshold-name { fill: var(--red); font-weight: 600; }
svg .loss { fill: none; stroke: var(--blue); stroke-width: 2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; } .columns td:nth-child(2) { white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
"""
