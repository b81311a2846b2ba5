// Without this the page says the same, all of it in one go. With it there is a page a tab, tables sort and filter,
// origins open beside the score, plots and shown rows can be saved, and every state has an address.
"use strict";

const all = (what, inside = document) => [...inside.querySelectorAll(what)];
const make = (name, text = "", more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });
const button = (text, click) => {
  const one = make("button", text, { type: "button" });
  one.addEventListener("click", click);
  return one;
};

// Light, dark, or as the system has it.
const themes = ["auto", "light", "dark"];
const theme = button("Theme: auto", () => {
  const root = document.documentElement;
  const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
  root.dataset.theme = next;
  theme.textContent = `Theme: ${next}`;
});
theme.className = "theme";
document.querySelector("header").prepend(theme);

// The state of the page, which its address holds: tab, filters, the open origin (cell), a place inside a tab (at).
const board = JSON.parse(document.getElementById("board")?.textContent ?? '{"rows":[],"columns":[],"cells":[]}');
const sections = all("main > section");
const filters = document.querySelector(".filters");
const drawer = document.getElementById("drawer");
const chosen = ["family", "dataset", "protocol", "fraction"].filter((name) => filters?.elements[name]);
let state = {};

const address = (one) => {
  const parts = new URLSearchParams(Object.entries(one).filter(([, value]) => value));
  return "#" + parts.toString();
};
const read = () => {
  const text = location.hash.slice(1);
  const target = text && !location.hash.includes("=") ? document.getElementById(text) : null;
  if (!target) return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const tab = target.closest("main > section")?.id;
  return text === tab || !tab ? { tab } : { tab, at: text };
};
const go = (change, keep = true) => {
  const next = { ...(keep ? state : {}), ...change };
  if (address(next) !== address(state)) history.pushState(null, "", address(next));
  show(next);
};
const replace = (change) => {
  state = { ...state, ...change };
  history.replaceState(null, "", address(state));
};

// What is shown: one tab, the rows and columns that pass the filters, and the drawer.
const nav = all("nav a");
function show(next) {
  state = next;
  const tab = sections.some((one) => one.id === state.tab) ? state.tab : sections[0]?.id;
  for (const section of sections) section.hidden = section.id !== tab;
  document.body.dataset.tab = tab ?? "overview";
  for (const link of nav) {
    link.removeAttribute("aria-current");
    if (link.hash !== "#" + tab) continue;
    link.setAttribute("aria-current", "page");
    link.parentNode.scrollLeft = link.offsetLeft - link.parentNode.offsetLeft - 40;
  }
  if (filters) {
    for (const name of ["q", ...chosen]) filters.elements[name].value = state[name] ?? "";
    filter();
  }
  const place = state.at && document.getElementById(state.at);
  if (place) {
    for (let up = place; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    place.scrollIntoView();
  }
  origin(state.cell);
  measure();
}

const passes = { row: [], column: [] };
function filter() {
  const terms = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  passes.row = board.rows.map((row) => {
    const text = `${row.title} ${row.backbone} ${row.family} ${row.floor}`.toLowerCase();
    return (!state.family || row.family === state.family) && terms.every((term) => text.includes(term));
  });
  passes.column = board.columns.map((column) =>
    ["dataset", "protocol", "fraction"].every((name) => !state[name] || column[name] === state[name]));
  for (const one of all("[data-row]")) one.toggleAttribute("data-off", !passes.row[one.dataset.row]);
  for (const one of all("[data-col]"))
    one.toggleAttribute("data-off", !one.dataset.col.split(" ").some((column) => passes.column[column]));
  for (const one of all("[data-pair]"))
    one.toggleAttribute("data-off", !one.dataset.pair.split(" ").some((row) => passes.row[row]));
  for (const { section, blocks, nothing } of sections.map(parts)) {
    const left = blocks.filter((one) => !one.hasAttribute("data-off"));
    nothing.hidden = !blocks.length || left.length > 0;
    if (left.length && !left.some((one) => one.tagName !== "DETAILS" || one.open)) left[0].open = true;
    section.classList.toggle("filtered", left.length < blocks.length);
  }
  for (const table of all("main table[data-sort]")) {
    const rows = [...table.tBodies[0].rows];
    table.classList.toggle("empty", rows.length > 0 && rows.every((row) => row.hasAttribute("data-off")));
  }
  const count = (list) => list.filter(Boolean).length;
  const [rows, columns] = [count(passes.row), count(passes.column)];
  const some = rows < board.rows.length || columns < board.columns.length;
  filters.querySelector("[role=status]").textContent =
    some ? `${rows} of ${board.rows.length} rows, ${columns} of ${board.columns.length} columns` : "";
}
const known = new Map();
function parts(section) {
  if (!known.has(section)) {
    const nothing = make("p", "Nothing here passes the filters.", { className: "note", hidden: true });
    section.append(nothing);
    known.set(section, { section, blocks: all(".col", section), nothing });
  }
  return known.get(section);
}

if (filters) {
  filters.hidden = false;
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", (event) => {
    if (!event.target.name) return;
    replace({ [event.target.name]: event.target.value, at: "" });
    filter();
    measure();
  });
  filters.addEventListener("reset", (event) => {
    event.preventDefault();
    go({ tab: state.tab }, false);
  });
}
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || link.classList.contains("skip") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const place = link.getAttribute("href").slice(1);
  if (link.classList.contains("why")) {
    event.preventDefault();
    const [, row, column] = place.split("-");
    opener = link;
    go({ cell: `${board.rows[row].backbone}@${board.columns[column].id}` });
    return;
  }
  const tab = document.getElementById(place)?.closest("main > section")?.id;
  if (!tab) return;
  event.preventDefault();
  go({ tab, at: place === tab ? "" : place, cell: "" });
  if (place === tab) scrollTo({ top: Math.min(scrollY, document.querySelector("main").offsetTop - 60) });
});
addEventListener("popstate", () => show(read()));

// The origin of a score, in a drawer: its own records, what all records of the column share, what the model was fed.
let opener = null;
const copy = (node) => {
  const twin = node.cloneNode(true);
  [twin, ...all("[id]", twin)].forEach((one) => one.removeAttribute("id"));
  [twin, ...all("[data-off]", twin)].forEach((one) => one.removeAttribute("data-off"));
  return twin;
};
function origin(cell) {
  if (!cell) {
    if (drawer.open) drawer.close();
    return;
  }
  const at = cell.lastIndexOf("@");
  const row = board.rows.findIndex((one) => one.backbone === cell.slice(0, at));
  const column = board.columns.findIndex((one) => one.id === cell.slice(at + 1));
  const found = document.getElementById(`cell-${row}-${column}`);
  if (!found) return;
  const close = button("Close", () => drawer.close());
  const shown = [close, copy(found), make("h4", "The column"), copy(found.parentNode.querySelector(".shared"))];
  const fed = found.querySelector('a[href^="#input-"]');
  if (fed) shown.push(make("h4", "What it was fed"), copy(document.querySelector(fed.getAttribute("href") + " dl")));
  drawer.replaceChildren(...shown);
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
}
drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
drawer.addEventListener("close", () => {
  if (state.cell) replace({ cell: "" });
  opener?.focus();
});

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
  const sort = button("", () => {
    const body = th.closest("table").tBodies[0];
    const up = th.getAttribute("aria-sort") === "descending";
    all("th", th.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...order([...body.rows], th.cellIndex, up));
  });
  sort.append(...th.childNodes);
  th.append(sort);
}

// Saved without leaving the page: what the filters show, as CSV or JSON, and plots as PNG.
const save = (name, blob) => {
  const link = make("a", "", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const shownRows = () => board.cells
  .filter(([row, column]) => passes.row[row] && passes.column[column])
  .map(([row, column, ...values]) => ({
    ...board.rows[row], ...board.columns[column], fraction: Number(board.columns[column].fraction),
    ...Object.fromEntries(board.fields.map((name, k) => [name, values[k]])),
  }));
// Text that a spreadsheet would take for a formula gets a quote before it, as in `seamo-bench table --csv`.
const csvCell = (value) => {
  if (value === null || value === undefined) return "";
  let text = Array.isArray(value) ? value.join("; ") : String(value);
  if (typeof value !== "number" && /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
for (const one of all("[data-form]")) {
  one.addEventListener("click", () => {
    const rows = shownRows();
    if (one.dataset.form === "json") {
      save("scores.json", new Blob([JSON.stringify(rows, null, 1)], { type: "application/json" }));
      return;
    }
    const names = Object.keys(rows[0] ?? {});
    const lines = [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(csvCell).join(","));
    save("scores.csv", new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  });
}
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "paint-order",
  "display", "stroke-linejoin"];
async function picture(svg, scale = 2) {
  const twin = svg.cloneNode(true);
  const drawn = [svg, ...all("*", svg)];
  [twin, ...all("*", twin)].forEach((one, k) => {
    const style = getComputedStyle(drawn[k]);
    one.setAttribute("style", STYLES.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  const { width, height } = svg.viewBox.baseVal;
  Object.entries({ xmlns: "http://www.w3.org/2000/svg", width: scale * width, height: scale * height })
    .forEach(([name, value]) => twin.setAttribute(name, value));
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(twin));
  await image.decode();
  const canvas = make("canvas", "", { width: scale * width, height: scale * height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(svg.closest(".scroll")).backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
for (const plot of all(".plot")) {
  const name = (plot.dataset.name || "plot").toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const one = button("Save as PNG", async () => save(`${name}.png`, await picture(plot.querySelector("svg"))));
  one.className = "save";
  plot.append(one);
}

// Plots and maps: one stop of the tab key each, arrows walk inside; what is under hand or pointer is written below.
for (const plot of all(".plot")) {
  const reading = plot.querySelector(".reading");
  const say = (event) => {
    const hint = event.target.closest(".hint");
    if (hint) reading.textContent = hint.querySelector("title").textContent;
  };
  plot.addEventListener("pointerover", say);
  plot.addEventListener("focusin", say);
  plot.addEventListener("keydown", (event) => {
    const hints = all(".hint:not([data-off])", plot);
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
  const text = (value) =>
    isNaN(value) ? "undefined (no sample of a class that counts)" : (unit * value).toFixed(unit === "1" ? 4 : 2);
  const shade = (value) => {
    if (isNaN(value)) return "hx";
    const share = high > low ? (value - low) / (high - low) : 1;
    return `h${Math.max(0, Math.min(4, Math.floor(5 * (better === "1" ? share : 1 - share))))}`;
  };
  select.addEventListener("change", () => {
    const option = select.selectedOptions[0];
    const values = option.dataset.scores.split(" ").map(parseFloat);
    cells.forEach((cell, k) => {
      cell.setAttribute("class", `hint ${shade(values[k])}`);
      cell.querySelector("title").textContent =
        `${cell.dataset.spot}: ${title} ${text(values[k])}, n = ${Number(cell.dataset.n).toLocaleString("en")}`;
    });
    map.querySelector(".reading").textContent = "";
    if (!body) return;
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
    map.querySelector(".whose").textContent = option.textContent;
  });
}

// A visible sign where a table or a plot is wider than its place.
function measure() {
  const places = drawer.open ? [drawer] : sections.filter((one) => !one.hidden);
  const wide = places.flatMap((place) => all(".scroll", place)).map((one) => [one, one.scrollWidth - one.clientWidth]);
  for (const [one, over] of wide) {
    one.parentNode.classList.toggle("wide", over > 2);
    one.parentNode.classList.toggle("more", over > 2 && one.scrollLeft < over - 2);
  }
}
document.addEventListener("scroll", (event) => event.target.classList?.contains("scroll") && measure(),
  { passive: true, capture: true });
addEventListener("resize", measure);
document.addEventListener("toggle", measure, true);

document.documentElement.classList.add("script");
addEventListener("beforeprint", () => all("main details").forEach((one) => (one.open = !one.closest("#origins"))));
show(read());
