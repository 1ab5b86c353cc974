"""Style sheet of the pages, and their only script, which sorts tables by a clicked column.

Charts have many elements, so their classes have short names: ``l`` line, ``p`` point, ``k`` thick,
``d`` dashed, ``c0`` to ``c7`` colors of lines, ``cn`` color of the operation ``none``.
"""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ground:#f6f7f9;--ink:#1f2933;--quiet:#5b6875;
--rule:#dde3ea;--mark:#0072b2;--warn:#b34700;--c0:#0072b2;--c1:#c98500;--c2:#009e73;--c3:#d55e00;
--c4:#b5568f;--c5:#2a98d0;--c6:#222;--c7:#5b3a8e;--none:#8a8a8a}
@media(prefers-color-scheme:dark){:root{--paper:#1c232b;--ground:#12171c;--ink:#e4e9ee;
--quiet:#9fabb7;--rule:#34404c;--mark:#6cb8ec;--warn:#ff9d5c;--c0:#5aaee6;--c1:#f0b23e;--c2:#35c79b;
--c3:#ff8a4c;--c4:#e394c3;--c5:#8fd3f7;--c6:#e8e8e8;--c7:#b394e8;--none:#8a8a8a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:78rem;padding:1rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:.4rem 0}h2{font-size:1.3rem;margin:0 0 .4rem}
h3{font-size:1.05rem;margin:1.6rem 0 .5rem}h4{font-size:.95rem;margin:1rem 0 .3rem}
h1,h2,h3,h4,p,li{overflow-wrap:anywhere}td{overflow-wrap:break-word}p{margin:.4rem 0}
.quiet{color:var(--quiet);font-size:.9rem}.warn{color:var(--warn)}
a{color:var(--mark)}nav a{display:inline-block;margin-right:1rem;padding:.2rem 0}
article,.card{background:var(--paper);border:1px solid var(--rule);border-radius:.6rem;
padding:1rem;margin:1rem 0}
.state{display:inline-block;border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;
font-size:.85rem;color:var(--quiet)}.state.warn{color:var(--warn)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.5rem,1fr));gap:.6rem;
margin:.8rem 0}
.tiles div{border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .7rem}
dt{color:var(--quiet);font-size:.8rem}dd{margin:0;font-size:1.15rem;font-weight:600;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.wide,.paper{overflow-x:auto;max-width:100%}
/* Shadows at the edges behind which a wide table goes on; the covers scroll with the table. */
.wide{background:linear-gradient(90deg,var(--paper) 40%,transparent) left/3rem 100% no-repeat local,
linear-gradient(270deg,var(--paper) 40%,transparent) right/3rem 100% no-repeat local,
linear-gradient(90deg,#0005,transparent) left/.9rem 100% no-repeat scroll,
linear-gradient(270deg,#0005,transparent) right/.9rem 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top;
min-width:4rem;max-width:24rem}
th[scope=row]{font-weight:400;color:var(--quiet)}
.pairs{max-width:100%}.pairs td,.pairs th{overflow-wrap:anywhere;max-width:40rem}
.pairs td{min-width:10rem}
.sortable td:first-child,.sortable th:first-child{position:sticky;left:0;background:var(--paper)}
td.number{text-align:right;white-space:nowrap}th.number{text-align:right}
th button{all:unset;cursor:pointer;white-space:nowrap;font-weight:600;font-size:.85rem}
th button:focus-visible{outline:2px solid var(--mark)}
th button::after{content:" \\2195";color:var(--quiet)}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
pre{overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;background:var(--ground);
border:1px solid var(--rule);border-radius:.4rem;padding:.6rem;margin:.4rem 0;font-size:.82rem}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--mark);padding:.2rem 0}
.row{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;align-items:flex-start}
.row>*{max-width:100%}.row>.charts{flex:1 1 18rem;min-width:0}
.paper{background:#fff;border-radius:.5rem;padding:.3rem;margin:.4rem 0}
.paper svg{max-width:100%}.paper img{max-width:min(100%,46rem)}
.paper svg,.paper img{display:block;min-width:34rem;height:auto;margin:0 auto}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1rem;
margin:.6rem 0 1rem}
.small{grid-template-columns:repeat(auto-fill,minmax(min(10rem,45%),1fr));gap:.6rem}
figure{margin:0}figcaption{font-size:.85rem;font-weight:600}
.small figcaption{font-size:.75rem;font-weight:400;color:var(--quiet)}
.small .chosen{color:var(--ink);font-weight:600}
figure svg{display:block;width:100%;height:auto}
svg text{fill:var(--quiet)}.grid{stroke:var(--rule);stroke-width:1}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem;padding:0;margin:.2rem 0;
font-size:.8rem}
.legend li::before{content:"";display:inline-block;width:1.1em;border-top:3px solid var(--c);
margin-right:.4em;vertical-align:middle}
.legend li.d::before{border-top-style:dashed}
.l{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}.l.d{stroke-dasharray:5 3}
.l.k{stroke-width:3.2}.p{fill:var(--c)}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}
.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}.cn{--c:var(--none)}
/* Figures are drawn on white. In dark mode their lightness is inverted, their hues stay, and the
white background becomes transparent. */
@media screen and (prefers-color-scheme:dark){.paper{filter:invert(1) hue-rotate(180deg);
mix-blend-mode:screen}}
@media(max-width:30rem){th,td{padding:.3rem .45rem;min-width:3rem}article{padding:.8rem}}
@media(min-width:60rem){body{padding:1.5rem}article{padding:1.2rem 1.6rem}}
@media print{body{background:#fff}article{break-inside:avoid-page}}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = row => {
      const cell = row.cells[column];
      return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
    };
    const compare = (a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = typeof x === "number" && typeof y === "number"
        ? x - y : String(x).localeCompare(String(y), undefined, {numeric: true});
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }));
}
"""
