// Without this the page says the same; with it tables sort, origins open beside the score, and maps change.
"use strict";

const all = (what, inside = document) => [...inside.querySelectorAll(what)];
const make = (name, text = "") => Object.assign(document.createElement(name), { textContent: text });

// Light, dark, or as the system has it.
const themes = ["auto", "light", "dark"];
const theme = make("button", "Theme: auto");
theme.type = "button";
theme.className = "theme";
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
  root.dataset.theme = next;
  theme.textContent = `Theme: ${next}`;
});
document.querySelector("header").prepend(theme);

// A click on a head sorts its column, best first; what has no value stays last.
const order = (rows, at, up) => {
  const value = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent.trim();
  const sign = up ? 1 : -1;
  return rows.toSorted((a, b) => {
    const x = value(a), y = value(b), p = parseFloat(x), q = parseFloat(y);
    if (!x || !y) return !x - !y;
    return sign * (isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q);
  });
};
for (const th of all("table[data-sort] thead th")) {
  const button = make("button");
  button.type = "button";
  button.append(...th.childNodes);
  th.append(button);
  button.addEventListener("click", () => {
    const body = th.closest("table").tBodies[0];
    const up = th.getAttribute("aria-sort") === "descending";
    all("th", th.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...order([...body.rows], th.cellIndex, up));
  });
}

// The origin of a score, in a drawer: its own records, what all records of the column share, what the model was fed.
const drawer = document.getElementById("drawer");
const copy = (node) => {
  const twin = node.cloneNode(true);
  [twin, ...all("[id]", twin)].forEach((one) => one.removeAttribute("id"));
  return twin;
};
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a.why[href^="#cell-"]');
  if (!link) return;
  event.preventDefault();
  const origin = document.querySelector(link.getAttribute("href"));
  const close = make("button", "Close");
  close.type = "button";
  close.addEventListener("click", () => drawer.close());
  const parts = [close, copy(origin), make("h4", "The column"), copy(origin.parentNode.querySelector("dl"))];
  const fed = origin.querySelector('a[href^="#input-"]');
  if (fed) parts.push(make("h4", "What it was fed"), copy(document.querySelector(fed.getAttribute("href") + " dl")));
  drawer.replaceChildren(...parts);
  drawer.showModal();
  drawer.scrollTop = 0;
});
drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());

// Plots and maps: one stop of the tab key each, arrows walk inside; what is under hand or pointer is written below.
for (const plot of all(".plot")) {
  const reading = plot.querySelector(".reading");
  const hints = all(".hint", plot);
  const say = (event) => {
    const hint = event.target.closest(".hint");
    if (hint) reading.textContent = hint.querySelector("title").textContent;
  };
  plot.addEventListener("pointerover", say);
  plot.addEventListener("focusin", say);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = hints.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = hints[(at + step + hints.length) % hints.length];
    hints[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Another backbone on a map.
for (const map of all(".map")) {
  const { low, high, better, unit, least, title } = map.dataset;
  const select = map.querySelector("select");
  const cells = all("rect.hint", map);
  const body = map.querySelector("tbody");
  const text = (value) => (isNaN(value) ? "undefined" : (unit * value).toFixed(unit === "1" ? 4 : 2));
  const shade = (value) => {
    if (isNaN(value)) return "hx";
    const share = high > low ? (value - low) / (high - low) : 1;
    return `h${Math.max(0, Math.min(4, Math.floor(5 * (better === "1" ? share : 1 - share))))}`;
  };
  select.addEventListener("change", () => {
    const chosen = select.selectedOptions[0];
    const values = chosen.dataset.scores.split(" ").map(parseFloat);
    cells.forEach((cell, k) => {
      cell.setAttribute("class", `hint ${shade(values[k])}`);
      cell.querySelector("title").textContent =
        `${cell.dataset.spot}: ${title} ${text(values[k])}, n = ${Number(cell.dataset.n).toLocaleString("en")}`;
    });
    const sign = better === "1" ? 1 : -1;
    const worst = cells.map((cell, k) => ({ cell, value: values[k] }))
      .filter((one) => !isNaN(one.value) && Number(one.cell.dataset.n) >= Number(least))
      .sort((a, b) => sign * (a.value - b.value) || b.cell.dataset.n - a.cell.dataset.n).slice(0, body.rows.length);
    [...body.rows].forEach((row, k) => {
      const one = worst[k];
      row.hidden = !one;
      if (!one) return;
      row.cells[0].textContent = one.cell.dataset.spot;
      row.cells[1].textContent = Number(one.cell.dataset.n).toLocaleString("en");
      row.cells[2].textContent = text(one.value);
    });
    map.querySelector(".whose").textContent = chosen.textContent;
    map.querySelector(".reading").textContent = "";
  });
}

// How many columns the tabs leave, and which parts have none of them; the hiding itself is done by style rules.
const filters = document.querySelector(".filters");
const parts = all("main > section").filter((one) => one.querySelector(".col")).map((section) => {
  const nothing = Object.assign(make("p", "Nothing here for this task and protocol."), { className: "note", hidden: true });
  section.append(nothing);
  return { blocks: all(".col", section), nothing };
});
const visible = (blocks) => blocks.filter((one) => getComputedStyle(one).display !== "none").length;
const count = () => {
  for (const { blocks, nothing } of parts) nothing.hidden = visible(blocks) > 0;
  const blocks = all("#leaderboard .col");
  const shown = visible(blocks);
  filters.querySelector("[role=status]").textContent =
    shown === blocks.length ? "" : `${shown} of ${blocks.length} columns` + (shown ? "" : ": no such pair was run");
};
filters.addEventListener("change", count);

addEventListener("beforeprint", () => all("main details").forEach((one) => (one.open = !one.closest("#origins"))));
