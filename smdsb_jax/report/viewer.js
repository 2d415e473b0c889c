const COUNT = DATA.classes.length;
const PROBABILITY = numbers(DATA.probability, Float32Array); // of all clouds, one after the other
const ENTROPY = numbers(DATA.entropy, Float32Array); // in nats
const probabilitiesOf = (cloud) => PROBABILITY.slice(cloud * COUNT, (cloud + 1) * COUNT);
const LABEL = DATA.names.map((_, cloud) => probabilitiesOf(cloud).reduce((best, p, k, all) => (p > all[best] ? k : best), 0));
const largest = (cloud) => PROBABILITY[cloud * COUNT + LABEL[cloud]];
const percent = (p) => (100 * p).toFixed(1);

// places in the order of a reader: scan2 before scan10
function ranks(texts) {
  const collator = new Intl.Collator(undefined, { numeric: true });
  const rank = [];
  [...texts.keys()].sort((a, b) => collator.compare(texts[a], texts[b])).forEach((at, place) => (rank[at] = place));
  return rank;
}

const NAME_RANK = ranks(DATA.names);
const CLASS_RANK = ranks(DATA.classes);
const COLUMNS = [
  { title: "Cloud", text: (cloud) => DATA.names[cloud], key: (cloud) => NAME_RANK[cloud] },
  { title: "Class", text: (cloud) => DATA.classes[LABEL[cloud]], key: (cloud) => CLASS_RANK[LABEL[cloud]] },
  { title: "Prob. %", note: "of the class, in percent", text: (cloud) => percent(largest(cloud)), key: largest, number: true },
  { title: "Entropy", note: "of all probabilities, in nats: 0 where one class is certain", text: (cloud) => ENTROPY[cloud].toFixed(2), key: (cloud) => ENTROPY[cloud], number: true },
];
const view = { cloud: null, clouds: [], rows: new Map(), column: null, descending: false };

function sortBy(column) {
  view.descending = view.column === column && !view.descending;
  view.column = column;
  drawList();
}

function headerCell(column) {
  const sorted = view.column === column;
  const mark = sorted ? (view.descending ? " ↓" : " ↑") : "";
  const button = element("button", { type: "button", title: column.note ?? "", textContent: column.title + mark, onclick: () => sortBy(column) });
  const cell = element("th", { scope: "col", className: column.number ? "number" : "" }, button);
  if (sorted) cell.ariaSort = view.descending ? "descending" : "ascending";
  return cell;
}

// one stop of the tabulator key for the whole list: its buttons are reached by the arrow keys
function row(cloud) {
  const cells = COLUMNS.map((column) => element("td", { className: column.number ? "number" : "", textContent: column.text(cloud) }));
  cells[0].replaceChildren(element("button", { type: "button", tabIndex: -1, textContent: cells[0].textContent }));
  return element("tr", { onclick: () => choose(cloud) }, ...cells);
}

function drawList() {
  const [label, part] = [$("f-class").value, $("f-name").value.trim().toLowerCase()];
  const fits = (cloud) => (!label || LABEL[cloud] === Number(label)) && (DATA.folder + DATA.names[cloud]).toLowerCase().includes(part);
  const found = [...DATA.names.keys()].filter(fits);
  view.clouds = view.column ? ordered(found, view.column.key, view.descending) : found;
  view.rows = new Map(view.clouds.map((cloud) => [cloud, row(cloud)]));
  $("clouds").tHead.replaceChildren(element("tr", {}, ...COLUMNS.map(headerCell)));
  $("clouds").tBodies[0].replaceChildren(...view.rows.values());
  $("count").textContent = `${found.length} of ${DATA.names.length}${DATA.folder ? ` in ${DATA.folder}` : ""}`;
  choose(found.includes(view.cloud) ? view.cloud : view.clouds[0] ?? null);
}

function markRow(cloud) {
  const marked = $("clouds").querySelector("[aria-current]");
  if (marked) marked.ariaCurrent = null;
  $("clouds").querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
  const chosen = view.rows.get(cloud);
  if (!chosen) return;
  chosen.ariaCurrent = "true";
  chosen.querySelector("button").tabIndex = 0;
  keepInView($("clouds").parentElement, chosen, $("clouds").tHead.offsetHeight);
}

function drawCloud(cloud) {
  // on white in dark mode too, as the colors are made for it
  const look = { font: { color: "#1e2328", size: 12 }, modebar: modebar("#626a73", "#0072b2") };
  if (cloud === null) return plotCloud("cloud", null, [], "No cloud fits the filters.", look);
  const axes = axesOf(...DATA.clouds[cloud]);
  const marker = saliencyMarker("cloud", numbers(DATA.saliency[cloud], Uint8Array).map((v) => v / 255));
  const hovertemplate = "%{marker.color:.2f} of the largest saliency<extra></extra>";
  plotCloud("cloud", axes, [{ type: "scatter3d", mode: "markers", ...axes, marker, hovertemplate }], "", look);
}

function drawBars(cloud) {
  const line = (p, k) => {
    const filled = element("i");
    filled.style.width = `${100 * p}%`;
    const name = element("th", { scope: "row", textContent: DATA.classes[k] }, element("span", { className: "bar" }, filled));
    return element("tr", { className: k === LABEL[cloud] ? "first" : "" }, name, element("td", { className: "number", textContent: `${percent(p)} %` }));
  };
  $("bars").tBodies[0].replaceChildren(...(cloud === null ? [] : probabilitiesOf(cloud).map(line)));
}

function choose(cloud) {
  const hadFocus = $("clouds").tBodies[0].contains(document.activeElement);
  view.cloud = cloud;
  const at = view.clouds.indexOf(cloud);
  markRow(cloud);
  if (hadFocus) view.rows.get(cloud)?.querySelector("button").focus({ preventScroll: true });
  const named = cloud === null ? "" : `${DATA.classes[LABEL[cloud]]}, ${percent(largest(cloud))} %`;
  $("name").textContent = named;
  $("about").textContent = cloud === null ? "" : DATA.names[cloud];
  $("cloud").ariaLabel = cloud === null ? "" : `The cloud ${DATA.names[cloud]} in three dimensions, classified as ${named}`;
  $("place").textContent = cloud === null ? "" : `${at + 1} of ${view.clouds.length}`;
  $("previous").disabled = at <= 0;
  $("next").disabled = at === view.clouds.length - 1;
  drawCloud(cloud);
  drawBars(cloud);
}

function go(by) {
  const next = view.clouds[view.clouds.indexOf(view.cloud) + by];
  if (next !== undefined) choose(next);
}

function onKey(event) {
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!by || event.target.matches("select") || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  go(by);
}

const counts = DATA.classes.map((_, k) => LABEL.filter((label) => label === k).length);
const offered = [...DATA.classes.keys()].filter((k) => counts[k]).map((k) => [String(k), `${DATA.classes[k]} (${counts[k]})`]);
fill("f-class", [["", "all"], ...offered]);
$("f-class").onchange = drawList;
$("f-name").oninput = drawList;
$("previous").onclick = () => go(-1);
$("next").onclick = () => go(1);
document.addEventListener("keydown", onKey);
drawList();
