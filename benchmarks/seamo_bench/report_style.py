"""Style sheet and the few lines of script of the report, as text that is put into the page."""

CSS = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d2326;--soft:#59636a;--line:#dcdad3;--accent:#0b6e6e;
--bar:#0b6e6e;--track:#ece9e1;--warn-bg:#fff3d6;--warn-ink:#6b4700;--blank:#f1eee7;--floor:#8a5a00}
@media (prefers-color-scheme:dark){:root{--paper:#14181a;--card:#1b2022;--ink:#e6e8e6;--soft:#a5b0b3;--line:#343c40;
--accent:#63c5bf;--bar:#63c5bf;--track:#2a3134;--warn-bg:#3d3013;--warn-ink:#ffd98a;--blank:#232a2d;--floor:#e0ab4f}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header{max-width:76rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:3rem}
h1,h2,h3{font-family:Georgia,"Times New Roman",serif;font-weight:600;line-height:1.2;text-wrap:balance}
h1{font-size:2.3rem;margin:0}
h2{font-size:1.5rem;margin:3rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1.12rem;margin:1.8rem 0 .3rem}
p,li,dd{max-width:70ch}.lead,.note{color:var(--soft)}.note{font-size:.87rem;margin:.3rem 0}
a{color:var(--accent)}a:focus-visible,summary:focus-visible,button:focus-visible,.scroll:focus-visible{outline:2px solid
var(--accent);outline-offset:2px}
nav{margin:1.2rem 0;font-size:.92rem}nav a{margin-right:1.1rem;white-space:nowrap}
.warnings{list-style:none;margin:1.2rem 0;padding:0}
.warnings li{background:var(--warn-bg);color:var(--warn-ink);padding:.5rem .9rem;border-left:4px solid currentColor;
margin-bottom:.4rem;max-width:none}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:6px;margin:.6rem 0}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);font-size:.87rem;padding:.6rem .8rem 0}
th,td{padding:.42rem .8rem;text-align:left;vertical-align:middle;border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}
thead th{font-weight:600;font-size:.84rem;color:var(--soft);vertical-align:bottom}
thead button{all:unset;cursor:pointer;font-weight:600}thead button::after{content:" \\2195";opacity:.5}
tbody th{font-weight:500}td.num{text-align:right;white-space:nowrap}
.best{font-weight:700}.floor th{color:var(--floor)}.tag{display:inline-block;font-size:.74rem;border:1px solid
currentColor;border-radius:3px;padding:0 .35em;margin-left:.4em;white-space:nowrap}
.blank{color:var(--soft);font-size:.86rem;font-style:italic}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}svg{display:block}
.bar{stroke:var(--bar);stroke-width:2}.dot{fill:var(--bar)}.floor
.bar{stroke:var(--floor)}.floor .dot{fill:var(--floor)}
.track{fill:var(--track)}.axis{stroke:var(--line)}
td.heat{text-align:center;white-space:nowrap}td.none{background:var(--blank)}
code,.key{font:.84em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.8rem 1rem;overflow-x:auto}
details{border:1px solid var(--line);border-radius:6px;background:var(--card);margin:.4rem 0;padding:.4rem .9rem}
summary{cursor:pointer;font-weight:500}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;font-size:.9rem;margin:.6rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
footer{max-width:76rem;margin:3rem auto 2rem;padding:0 1.5rem;color:var(--soft);font-size:.87rem}
@media (max-width:40rem){dl{grid-template-columns:1fr}h1{font-size:1.8rem}}
@media print{:root{--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--bar:#000;--track:#eee;--floor:#666;
--warn-bg:#fff;--warn-ink:#000}body{font-size:10pt}nav,thead button::after{display:none}h2{break-after:avoid}
tr,details,svg{break-inside:avoid}.scroll{overflow:visible;border:0}}
"""

# Without it the page says the same; with it a click on a heading sorts its column.
JS = """
document.querySelectorAll("table[data-sort] thead th").forEach((th) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...th.childNodes);
  th.append(button);
  button.addEventListener("click", () => {
    const body = th.closest("table").tBodies[0];
    const at = th.cellIndex;
    const up = th.getAttribute("aria-sort") === "descending";
    th.parentNode.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent;
    const order = (a, b) => {
      const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
      const step = isNaN(p) || isNaN(q) ? (isNaN(p) && isNaN(q) ? x.localeCompare(y) : isNaN(p) ? -1 : 1) : p - q;
      return up ? step : -step;
    };
    [...body.rows].sort(order).forEach((row) => body.append(row));
  });
});
"""
