// three digits of the largest, so that numbers below each other align
function decimalsFor(values) {
  const known = Array.from(values).filter(Number.isFinite);
  if (known.every(Number.isInteger)) return 0;
  const largest = known.reduce((top, v) => Math.max(top, Math.abs(v)), 0);
  return Math.min(8, Math.max(0, 2 - Math.floor(Math.log10(largest))));
}

function format(value, decimals) {
  if (missing(value)) return "–";
  const fixed = value.toFixed(decimals);
  return (value !== 0 && Number(fixed) === 0 ? value.toPrecision(2) : fixed).replace("-", "−");
}

const counted = (number, noun) => `${number} ${noun}${String(number) === "1" ? "" : "s"}`;

// ---- leaderboard
const FILTERS = ["group", "stage", "domain", "measure"];
const COLUMNS = {
  statistic: ["Statistic", "score of a sample"],
  rank: ["Rank", "by the size of ρ among all statistics"],
  spearman: ["Spearman ρ", "rank correlation of score and measure"],
  p_permutation: ["p", "of ρ, against 9,999 exchanges of samples (of this row alone, not of the best)"],
  kendall: ["Kendall τ", "rank correlation by pairs"],
  partial: ["Partial ρ", "Spearman’s with other scores held fixed"],
  kept_low: ["Keep low", "mean measure of the kept minus that of all, low scores kept"],
  kept_high: ["Keep high", "mean measure of the kept minus that of all, high scores kept"],
  side: ["Side", "which scores the statistic keeps by default"],
  same_sign: ["Same sign", "runs, differing in the seed only, whose correlation has the sign of the mean"],
};
const BELOW = { samples: "sample", seeds: "seed" }; // told below the table
const SIGNED = ["spearman", "kendall", "partial"];
const ROWS = DATA.rows.map((row) => Object.fromEntries(row.map((value, i) => [DATA.columns[i], value])));
const NUMERIC = new Set(DATA.columns.filter((c) => ROWS.some((row) => typeof row[c] === "number")));
const STEPS = new Set(ROWS.map((row) => `${row.stage}, ${row.step}`)).size > new Set(ROWS.map((row) => row.stage)).size;
const hidden = (c) => c in BELOW || c === "step" || FILTERS.includes(c) || /_(low|high)95$/.test(c);
const OTHER = DATA.columns.filter((c) => !(c in COLUMNS) && !hidden(c));
const SHOWN = [...Object.keys(COLUMNS).filter((c) => DATA.columns.includes(c)), ...OTHER].filter(
  (c) => c !== "same_sign" || ROWS.some((row) => row.seeds > 1), // of one seed it says nothing
);
const board = { column: "spearman", order: "size" }; // size: by |value|, the largest first

// one's own statistics come first, and what is no statistic last, however the rest is sorted
const place = (row) => (DATA.own.includes(row.statistic) ? 0 : DATA.references.includes(row.statistic) ? 2 : 1);

function shownRows() {
  const { column, order } = board;
  const search = $("f-statistic").value.trim().toLowerCase();
  const fits = (row, f) => !$(`f-${f}`).value || String(row[f]) === $(`f-${f}`).value;
  const rows = ROWS.filter((row) => FILTERS.every((f) => fits(row, f)) && row.statistic.toLowerCase().includes(search));
  const key = (row) => (order === "size" && !missing(row[column]) ? Math.abs(row[column]) : row[column]);
  const sorted = ordered(rows, key, order !== "ascending");
  return [0, 1, 2].flatMap((k) => sorted.filter((row) => place(row) === k));
}

function sortBy(column) {
  const orders = SIGNED.includes(column) ? ["ascending", "descending", "size"] : ["ascending", "descending"];
  board.order = board.column === column ? orders[(orders.indexOf(board.order) + 1) % orders.length] : orders[0];
  board.column = column;
  drawBoard();
}

function headerCell(column) {
  const [label, title] = COLUMNS[column] ?? [column, ""];
  const mark = board.column === column ? { ascending: " ↑", descending: " ↓", size: " |↓|" }[board.order] : "";
  const button = element("button", { type: "button", title, textContent: label + mark, onclick: () => sortBy(column) });
  const cell = element("th", { scope: "col", className: NUMERIC.has(column) ? "number" : "" }, button);
  if (mark) cell.ariaSort = board.order === "size" ? "other" : board.order;
  return cell;
}

function bar(value) {
  const filled = element("i");
  filled.style.left = `${50 + 50 * Math.max(-1, Math.min(value, 0))}%`;
  filled.style.width = `${50 * Math.min(Math.abs(value), 1)}%`;
  return element("span", { className: `bar ${value < 0 ? "negative" : "positive"}` }, filled);
}

function textCell(row, column) {
  const cell = element("td", { textContent: row[column] ?? "–" });
  const free = FILTERS.filter((f) => !$(`f-${f}`).value).map((f) => (f === "stage" ? `stage ${row[f]}` : row[f]));
  if (STEPS) free.push(`step ${row.step}`);
  if (column === "statistic" && free.length) cell.append(element("span", { className: "small", textContent: free.join(" · ") }));
  return cell;
}

function numberCell(row, column, decimals) {
  const [value, low, high] = [row[column], row[`${column}_low95`], row[`${column}_high95`]];
  const sign = SIGNED.includes(column) && value ? (value < 0 ? "negative" : "positive") : "";
  const [bestLow, bestHigh] = column === "spearman" ? [row.spearman_best_low95, row.spearman_best_high95] : [];
  const sure = bestLow * bestHigh > 0 ? " sure" : ""; // of missing bounds the product is 0 or NaN
  const text = format(value, decimals) + (column === "same_sign" ? ` of ${row.seeds}` : "");
  const cell = element("td", { className: "number" }, element("span", { className: sign + sure, textContent: text }));
  if (!missing(low) && !missing(high)) {
    const textContent = `${format(low, decimals)} … ${format(high, decimals)}`;
    const adjusted = missing(bestLow) ? "" : `; adjusted: ${format(bestLow, decimals)} … ${format(bestHigh, decimals)}`;
    cell.append(element("span", { className: "small", title: `95 % interval${adjusted}`, textContent }));
  }
  if (column === "spearman" && !missing(value)) cell.append(bar(value));
  return cell;
}

function drawBoard() {
  const rows = shownRows();
  const decimals = Object.fromEntries(SHOWN.map((c) => [c, decimalsFor(rows.map((row) => row[c]))]));
  const cell = (row) => (c) => (NUMERIC.has(c) ? numberCell(row, c, decimals[c]) : textCell(row, c));
  const line = (row) => element("tr", { className: place(row) ? "" : "own" }, ...SHOWN.map(cell(row)));
  $("leaderboard").tHead.replaceChildren(element("tr", {}, ...SHOWN.map(headerCell)));
  $("leaderboard").tBodies[0].replaceChildren(...rows.map(line));
  const compared = new Set(rows.filter((row) => place(row) < 2).map((row) => row.statistic)).size;
  const below = Object.keys(BELOW).map((c) => [c, [...new Set(rows.map((row) => row[c]))].filter((v) => !missing(v))]);
  const each = below.filter(([, values]) => values.length).map(([c, values]) => counted(values.join(" or "), BELOW[c]));
  const luck = compared > 1 ? `; of ${compared} statistics compared, the best is partly lucky` : "";
  $("count").textContent = `${counted(rows.length, "row")} of ${ROWS.length}${each.length ? `, each of ${each.join(", ")}` : ""}${luck}.`;
}

function download() {
  const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [DATA.columns, ...shownRows().map((row) => DATA.columns.map((c) => row[c]))];
  const text = lines.map((line) => line.map((v) => quoted(String(v ?? ""))).join(",") + "\n").join("");
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href, download: "leaderboard.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

function startBoard() {
  for (const f of FILTERS) {
    const values = [...new Set(ROWS.map((row) => String(row[f])))];
    fill(`f-${f}`, [["", "all"], ...values.map((v) => [v, v])], values.length === 1 ? values[0] : { domain: "source", measure: "gain" }[f]);
    $(`f-${f}`).onchange = drawBoard;
  }
  $("f-statistic").oninput = drawBoard;
  $("csv").onclick = download;
  drawBoard();
}

// ---- samples
const decoded = []; // checkpoints whose arrays have been read
const view = { row: null, rows: [] }; // the chosen sample and those in the list, as rows of the checkpoint

function checkpoint() {
  const i = Number($("s-checkpoint").value);
  const raw = DATA.checkpoints[i];
  const whole = ["domain", "index", "batch", "label", "predicted", "kept", "shown"].map((n) => [n, numbers(raw[n], Int32Array)]);
  const table = (kind) => Object.fromEntries(Object.entries(raw[kind]).map(([n, text]) => [n, numbers(text, Float32Array)]));
  return (decoded[i] ??= { ...raw, ...Object.fromEntries(whole), scores: table("scores"), measures: table("measures") });
}

function cloudOf(c, row) {
  const at = c.shown.indexOf(row);
  if (at < 0) return null;
  const [unit, coordinates] = DATA.clouds[c.cloud[at]];
  const [low, step, steps] = c.saliency[at];
  return { ...axesOf(unit, coordinates), customdata: numbers(steps, Uint16Array).map((v) => low + step * v) };
}

// the values to sort by or to plot; a path is "scores/skewness"
const valuesAt = (c, path) => c[path.split("/", 1)[0]]?.[path.slice(path.indexOf("/") + 1)] ?? [];
const paths = (c, kind) => Object.keys(c[kind]).map((name) => [`${kind}/${name}`, name]);
const classOf = (c, k) => c.classes[k] ?? "none";
const keptOf = (c, row) => (c.kept[row] ? "kept" : "dropped");

function cloudTraces(cloud, levels) {
  const look = { type: "scatter3d", mode: "markers", hovertemplate: "saliency %{customdata:.3g}<extra></extra>" };
  const top = cloud.customdata.reduce((a, b) => Math.max(a, b), 0);
  const share = cloud.customdata.map((s) => (top > 0 ? Math.max(0, s / top) : 0));
  if (!levels) return [{ ...look, ...cloud, marker: saliencyMarker("cloud", share) }];
  return ["low", "middle", "high"].map((name, k) => {
    const own = (values) => values.filter((_, i) => Math.min(2, Math.floor(3 * share[i])) === k);
    const part = Object.fromEntries(Object.entries(cloud).map(([axis, values]) => [axis, own(values)]));
    return { ...look, ...part, name: `${name} (${part.x.length})`, marker: { size: [2.5, 4, 6][k], color: DATA.levels[k] } };
  });
}

function drawCloud(c) {
  const cloud = cloudOf(c, view.row);
  const levels = $("s-color").value === "levels";
  const text = view.row === null ? "No sample fits the filters." : "The cloud of this sample was not stored.";
  const legend = { orientation: "h", x: 0.5, xanchor: "center", y: 0, itemsizing: "constant" };
  plotCloud("cloud", cloud, cloud ? cloudTraces(cloud, levels) : [], text, { legend, showlegend: levels });
}

function rankInDomain(c, values, row) {
  const own = values.filter((v, i) => c.domain[i] === c.domain[row] && !missing(v));
  return missing(values[row]) ? "–" : `${1 + own.filter((v) => v < values[row]).length} of ${own.length}`;
}

function drawValues(c) {
  const row = view.row;
  const cells = (tag, texts) => element("tr", {}, ...texts.map((textContent, i) => element(tag, { textContent, className: i ? "number" : "" })));
  const line = ([name, v]) => cells("td", [name, format(v[row], decimalsFor([v[row]])), rankInDomain(c, v, row)]);
  const table = (kind, title) => [cells("th", [title, "value", "rank"]), ...Object.entries(c[kind]).map(line)];
  $("values").replaceChildren(...(row === null ? [] : [...table("scores", "Statistic"), ...table("measures", "Measure")]));
  $("name").textContent = row === null ? "" : `${classOf(c, c.label[row])}, ${DATA.domains[c.domain[row]]}`;
  $("about").textContent = row === null ? "" :
    `${keptOf(c, row)}; predicted ${classOf(c, c.predicted[row])}; row ${c.index[row]}, batch ${c.batch[row]}`;
}

function drawScatter(c) {
  const [x, y] = ["p-x", "p-y"].map((id) => valuesAt(c, $(id).value));
  const trace = (rows, more) => ({
    type: "scatter", mode: "markers", x: rows.map((i) => x[i]), y: rows.map((i) => y[i]), customdata: rows,
    text: rows.map((i) => `${classOf(c, c.label[i])}, ${keptOf(c, i)}`), hovertemplate: "%{text}<br>%{x:.3g}, %{y:.3g}", ...more,
  });
  const traces = DATA.domains.map((name, k) => {
    const rows = [...c.domain.keys()].filter((i) => c.domain[i] === k);
    const symbol = rows.map((i) => (c.kept[i] ? "circle" : "circle-open"));
    return trace(rows, { name, marker: { color: css(`--domain${k}`), size: 7, opacity: 0.75, symbol } });
  });
  const ring = { color: "rgba(0,0,0,0)", size: 15, line: { color: css("--ink"), width: 2 } };
  traces.push(trace(view.row === null ? [] : [view.row], { marker: ring, showlegend: false, hoverinfo: "skip", hovertemplate: null }));
  const axis = (id) => ({ title: { text: $(id).selectedOptions[0]?.text }, gridcolor: css("--line"), zerolinecolor: css("--muted"), automargin: true });
  const legend = { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 };
  plot("scatter", traces, { xaxis: axis("p-x"), yaxis: axis("p-y"), hovermode: "closest", margin: { l: 50, r: 10, t: 34, b: 46 }, legend });
}

function markInList(place) {
  const list = $("list");
  list.querySelector("[aria-current]")?.removeAttribute("aria-current");
  const item = list.children[place];
  if (!item) return;
  item.firstChild.ariaCurrent = "true";
  keepInView(list, item);
}

function choose(row) {
  const c = checkpoint();
  view.row = row;
  const place = view.rows.indexOf(row);
  $("place").textContent = place < 0 ? `${view.rows.length} in the list` : `${place + 1} of ${view.rows.length}`;
  markInList(place);
  for (const draw of [drawCloud, drawValues, drawScatter]) draw(c);
}

function drawList() {
  const c = checkpoint();
  const chosen = { domain: $("s-domain").value, label: $("s-class").value, kept: $("s-kept").value };
  const fits = (row) => Object.entries(chosen).every(([name, value]) => !value || c[name][row] === Number(value));
  const values = valuesAt(c, $("s-sort").value);
  view.rows = ordered(c.shown.filter(fits), (row) => values[row], $("s-order").value === "descending");
  const decimals = decimalsFor(view.rows.map((row) => values[row]));
  const item = (row) => element("li", {}, element("button", { type: "button", onclick: () => choose(row) },
    element("span", { textContent: classOf(c, c.label[row]) }),
    element("span", { textContent: keptOf(c, row), className: keptOf(c, row) }),
    element("span", { textContent: format(values[row], decimals), className: "number" })));
  $("list").replaceChildren(...view.rows.map(item));
  choose(view.rows.includes(view.row) ? view.row : view.rows[0] ?? null);
}

function drawFromFirst() {
  view.row = null;
  drawList();
}

// from the scatter plot: the list opens to the sample's domain
function chooseAnywhere(row) {
  view.row = row;
  $("s-domain").value = String(checkpoint().domain[row]);
  $("s-class").value = $("s-kept").value = "";
  drawList();
  if (view.row !== row) choose(row); // it has no cloud and is in no list
}

function go(by) {
  const next = view.rows[view.rows.indexOf(view.row) + by];
  if (next !== undefined) choose(next);
}

function onKey(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
  const inList = event.target.closest("#list");
  const sideways = /Left|Right/.test(event.key) && (event.target === document.body || event.target.closest("#samples"));
  if (!by || event.target.matches("select, input") || !(inList || sideways)) return;
  event.preventDefault();
  go(by);
  if (inList) inList.querySelector("[aria-current]")?.focus({ preventScroll: true });
}

function openCheckpoint() {
  const c = checkpoint();
  const present = DATA.domains.map((name, k) => [String(k), name]).filter(([k]) => c.domain.includes(Number(k)));
  fill("s-domain", [["", "all"], ...present], present[0]?.[0]);
  fill("s-class", [["", "all"], ...c.classes.map((name, k) => [String(k), name])]);
  const first = `scores/${DATA.own[0] ?? "skewness"}`;
  fill("s-sort", [...paths(c, "scores"), ...paths(c, "measures")], first);
  fill("p-x", paths(c, "scores"), first);
  fill("p-y", paths(c, "measures"), "measures/gain");
  drawList();
}

function startSamples() {
  if (!DATA.checkpoints.length) return $("samples").replaceChildren("No checkpoint was examined.");
  fill("s-checkpoint", DATA.checkpoints.map((c, i) => [String(i), c.name]));
  fill("s-kept", [["", "kept and dropped"], ["1", "kept"], ["0", "dropped"]]);
  fill("s-order", [["ascending", "ascending"], ["descending", "descending"]]);
  fill("s-color", [["continuous", "continuous"], ["levels", "three levels"]]);
  $("s-checkpoint").onchange = openCheckpoint;
  for (const name of ["domain", "class", "kept"]) $(`s-${name}`).onchange = drawList;
  for (const name of ["sort", "order"]) $(`s-${name}`).onchange = drawFromFirst;
  for (const id of ["s-color", "p-x", "p-y"]) $(id).onchange = () => choose(view.row);
  $("previous").onclick = () => go(-1);
  $("next").onclick = () => go(1);
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => choose(view.row));
  openCheckpoint();
  $("scatter").on("plotly_click", (event) => chooseAnywhere(event.points[0].customdata));
}

startBoard();
startSamples();
