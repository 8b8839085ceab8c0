"""How the page looks, on a screen and on paper."""

CSS = """
:root { --ink: #1f2933; --soft: #52606d; --line: #dde3e9; --pale: #f5f7f9; --blue: #0072b2; --orange: #b84a00; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); line-height: 1.5; font-size: 15px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 36px 28px 60px; }
header h1 { font-size: 30px; line-height: 1.2; margin: 0; font-weight: 650; overflow-wrap: anywhere; }
header p { margin: 4px 0 18px; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 10px 0; border: solid var(--line); border-width: 1px 0;
  font-size: 14px; }
a { color: var(--blue); text-decoration: none; }
a:hover { text-decoration: underline; }
section { margin-top: 44px; }
h2 { font-size: 21px; margin: 0 0 14px; padding-bottom: 6px; border-bottom: 1px solid var(--line); font-weight: 620; }
h3 { font-size: 15.5px; margin: 22px 0 8px; font-weight: 620; }
p { margin: 8px 0; max-width: 78ch; }
.note { color: var(--soft); font-size: 13.5px; }
.missing { color: var(--soft); background: var(--pale); border-radius: 6px; padding: 12px 16px; }
.verdict { max-width: none; padding: 13px 18px; border-left: 5px solid; border-radius: 4px; background: var(--pale);
  font-size: 16.5px; }
.verdict.good { border-color: var(--blue); }
.verdict.bad { border-color: var(--orange); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 16px 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; display: flex; flex-direction: column; }
.card .name { color: var(--soft); font-size: 13px; }
.card b { font-size: 27px; font-weight: 620; line-height: 1.25; font-variant-numeric: tabular-nums; }
.ci { color: var(--soft); font-size: 12.5px; font-weight: 400; white-space: nowrap; }
figure { margin: 14px 0 20px; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; font-family: inherit; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 4px; max-width: 78ch; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 0 36px; align-items: start; }
.trio { display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 0 24px; align-items: start; }
.pair > *, .trio > * { min-width: 0; }
.scroll { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 14px 5px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 550; font-size: 13px; vertical-align: bottom; }
tbody th { font-weight: 550; }
table.small { font-size: 12px; }
table.small td:last-child { min-width: 420px; }
.what { display: block; color: var(--soft); font-weight: 400; font-size: 12.5px; }
.message { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12.5px; }
.state { white-space: nowrap; padding: 1px 8px; border-radius: 9px; font-size: 12px; background: #e8ecf0; }
.state.feasible { background: #dcecf6; color: #00568a; }
.state.infeasible { background: #fae6d8; color: #8f3a00; }
table.confusion { border-collapse: separate; border-spacing: 4px; font-size: 13.5px; }
.confusion th, .confusion td { border: 0; padding: 6px 10px; vertical-align: middle; }
.confusion thead th { text-align: center; white-space: nowrap; }
.confusion tbody td { width: 128px; height: 84px; text-align: center; border-radius: 6px; }
.confusion td b { display: block; font-size: 25px; line-height: 1.2; }
.confusion .hit { background: #cfe5f3; }
.confusion .hit.light { background: #e4f0f8; }
.confusion .miss { background: #f8d5bd; }
.confusion .miss.light { background: #fbe8db; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 8px 28px; margin: 10px 0; }
dl.facts dt { color: var(--soft); font-size: 12.5px; }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
dl.words > div { display: grid; grid-template-columns: 180px 1fr; gap: 0 16px; margin: 6px 0; max-width: 92ch; }
dl.words dt { font-weight: 550; }
dl.words dd { margin: 0; color: var(--soft); }
details { margin: 12px 0; }
summary { cursor: pointer; color: var(--blue); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
.gallery figure { margin: 0; }
.gallery img { width: 100%; display: block; border-radius: 4px; background: #000; }
.gallery img + img { margin-top: 4px; }
.gallery figcaption { font-size: 12.5px; }
.gallery figcaption span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  font-size: 11.5px; }
footer { margin-top: 56px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--soft); font-size: 13px; }
@media (max-width: 520px) { .pair { grid-template-columns: 1fr; } }
@page { size: A4; margin: 15mm 13mm; }
@media print {
  body { font-size: 10.5pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  nav, details:not([open]) { display: none; }
  h2, h3 { break-after: avoid; }
  tr, .card, .gallery figure, .pair > *, .trio > * { break-inside: avoid; }
  .pair { grid-template-columns: 1fr 1fr; gap: 0 20px; }
  .trio { grid-template-columns: 1fr 1fr 1fr; gap: 0 14px; }
  .gallery { grid-template-columns: repeat(6, 1fr); }
  .scroll { overflow: visible; break-inside: avoid; }
  .cards { grid-template-columns: repeat(5, 1fr); gap: 8px; }
  .card { padding: 8px 10px; }
  .card b { font-size: 20px; }
  .ci { white-space: normal; }
  table { font-size: 9pt; }
  .confusion thead th { white-space: normal; }
  .confusion tbody td { width: 92px; height: 58px; }
  section { margin-top: 26px; }
}
"""
