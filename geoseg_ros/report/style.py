"""The report's style sheet: one column of calm typography, light and dark."""

STYLE = """
:root { --paper:#fbfbf9; --card:#ffffff; --ink:#1c2126; --soft:#5c6670; --line:#e2e4e1; --accent:#0b6e69;
  --s1:#0b6e69; --s2:#d9822b; --s3:#7a5195; --s4:#c0392b; --notice:#fff4dc; --code:#f1f2ef; }
@media (prefers-color-scheme: dark) { :root { --paper:#14181b; --card:#1b2024; --ink:#e6e9eb; --soft:#97a2ab;
  --line:#2c3338; --accent:#4cc3ba; --s1:#4cc3ba; --s2:#f0a554; --s3:#b794d6; --s4:#ef7b6d; --notice:#3a3015;
  --code:#22282c; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe UI",
  Roboto,"Helvetica Neue",Arial,sans-serif; -webkit-font-smoothing:antialiased; }
main { max-width:1240px; margin:0 auto; padding:36px 28px 56px; }
header h1 { font-size:30px; letter-spacing:-.02em; margin:0; font-weight:680; }
header p { margin:6px 0 0; color:var(--soft); font-size:17px; max-width:75ch; }
section { margin-top:44px; }
h2 { font-size:20px; letter-spacing:-.01em; margin:0 0 4px; padding-top:14px;
  border-top:2px solid var(--ink); }
h3 { font-size:15px; margin:0 0 6px; font-weight:640; }
.intro, .note { color:var(--soft); margin:0 0 14px; max-width:90ch; }
.note { font-size:13px; margin:6px 0 0; }
.notice { background:var(--notice); border-radius:8px; padding:10px 14px; margin:18px 0 0; }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(230px,1fr)); gap:12px; margin-top:26px; }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:14px 16px 12px; }
.card .name { color:var(--soft); font-size:13px; }
.card .value { font-size:29px; font-weight:640; letter-spacing:-.02em; line-height:1.2; white-space:nowrap;
  font-variant-numeric:tabular-nums; }
.card .unit { font-size:15px; font-weight:400; color:var(--soft); margin-left:4px; letter-spacing:0; }
.card .more { color:var(--soft); font-size:12.5px; }
.grid { display:grid; gap:22px 26px; margin-top:14px; }
.grid.c2 { grid-template-columns:repeat(auto-fit,minmax(420px,1fr)); }
.grid.c3 { grid-template-columns:repeat(auto-fit,minmax(320px,1fr)); }
.block { min-width:0; }
.frame { background:var(--card); border:1px solid var(--line); border-radius:12px; padding:16px 18px 18px; }
.frame .head { display:flex; flex-wrap:wrap; gap:2px 22px; align-items:baseline; margin-bottom:10px; }
.frame .head h3 { margin:0; font-size:16px; }
.frame .head span { color:var(--soft); font-size:13.5px; font-variant-numeric:tabular-nums; }
.frame .head b { color:var(--ink); font-weight:600; }
.panels { display:grid; grid-template-columns:repeat(3,1fr); gap:10px 12px; }
.panels:has(> :nth-child(4):last-child) { grid-template-columns:repeat(2,1fr); }
.panels.ref { grid-template-columns:repeat(4,1fr); margin-top:12px; padding-top:12px;
  border-top:1px dashed var(--line); }
@media (max-width:900px) { .panels, .panels.ref { grid-template-columns:repeat(2,1fr); }
  .grid.c2, .grid.c3 { grid-template-columns:1fr; } }
figure { margin:0; min-width:0; }
figure img { display:block; width:100%; border-radius:6px; background:#000; }
figure.path { display:flex; flex-direction:column; }
figure.path svg { outline:1px solid var(--line); outline-offset:-1px; border-radius:6px; }
figcaption { font-size:12.5px; color:var(--soft); margin-top:3px; }
figcaption b { color:var(--ink); font-weight:600; }
table { border-collapse:collapse; width:100%; font-size:13.5px; font-variant-numeric:tabular-nums; }
th { text-align:left; color:var(--soft); font-weight:500; border-bottom:1px solid var(--line);
  padding:4px 12px 4px 0; }
td { border-bottom:1px solid var(--line); padding:4px 12px 4px 0; vertical-align:top;
  overflow-wrap:anywhere; }
th.n, td.n { text-align:right; white-space:nowrap; }
.scroll { overflow-x:auto; }
.facts td:first-child { color:var(--soft); white-space:nowrap; width:1%; padding-right:20px;
  overflow-wrap:normal; }
code { font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; background:var(--code);
  border-radius:5px;
  padding:1px 5px; overflow-wrap:anywhere; }
.legend { display:flex; flex-wrap:wrap; gap:6px 18px; font-size:13.5px; }
.legend i { display:inline-block; width:13px; height:13px; border-radius:3px; margin-right:6px;
  vertical-align:-2px;
  border:1px solid rgba(128,128,128,.35); }
.keys { font-size:13px; font-weight:400; color:var(--soft); margin-left:18px; }
.keys i { display:inline-block; width:16px; height:3px; border-radius:2px; margin:0 6px 0 0;
  vertical-align:3px; }
.keys span { margin-right:16px; }
svg.chart { display:block; width:100%; height:auto; background:var(--card); }
.block > svg.chart { border:1px solid var(--line); border-radius:8px; }
svg .grid, svg .axis { stroke:var(--line); } svg .axis { stroke:var(--soft); }
svg text { font:11.5px system-ui,sans-serif; fill:var(--soft); } svg .label { font-size:12px; }
svg .level { stroke:var(--soft); stroke-dasharray:4 4; } svg .leveltext { fill:var(--ink); font-size:11px;
  paint-order:stroke; stroke:var(--card); stroke-width:3px; }
svg .curve { fill:none; stroke-width:1.8; stroke-linejoin:round; stroke-linecap:round; }
svg .bar { fill:none; stroke:var(--soft); stroke-width:1.4; }
svg .start { fill:var(--card); stroke:var(--ink); stroke-width:1.6; }
.curve.s1 { stroke:var(--s1); } .curve.s2 { stroke:var(--s2); } .curve.s3 { stroke:var(--s3); }
.curve.s4 { stroke:var(--s4); }
.dot.s1 { fill:var(--s1); } .dot.s2 { fill:var(--s2); } .dot.s3 { fill:var(--s3); }
.dot.s4 { fill:var(--s4); }
.k1 { background:var(--s1); } .k2 { background:var(--s2); } .k3 { background:var(--s3); }
.k4 { background:var(--s4); }
video { width:100%; border-radius:10px; margin-top:14px; background:#000; }
footer { margin-top:48px; color:var(--soft); font-size:13px; border-top:1px solid var(--line);
  padding-top:12px; }
@media print { main { max-width:none; } .frame { break-inside:avoid; } }
""".strip()
