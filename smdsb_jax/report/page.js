"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const missing = (value) => value == null || Number.isNaN(value);

function element(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children); // strings become text: a name cannot become markup
  return node;
}

// options are [value, text] pairs; what was chosen stays where it is still offered
function fill(id, options, preferred) {
  const offered = options.map(([value]) => value);
  const wanted = [$(id).options.length ? $(id).value : preferred, preferred, offered[0]].find((v) => offered.includes(v));
  $(id).replaceChildren(...options.map(([value, text]) => element("option", { value, textContent: text })));
  $(id).value = wanted;
}

// a sorted copy; what has no value comes last in both directions
function ordered(items, key, descending) {
  const compare = (a, b) => missing(a) - missing(b) || (missing(a) ? 0 : (a > b) - (a < b)) * (descending ? -1 : 1);
  return items.map((item) => [key(item), item]).sort(([a], [b]) => compare(a, b)).map(([, item]) => item);
}

function numbers(text, Kind) {
  return Array.from(new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer));
}

const modebar = (color, activecolor) => ({ bgcolor: "rgba(0,0,0,0)", color, activecolor });

// `showSendToCloud` is a button that would send the data to a server
function plot(id, traces, layout) {
  const font = { color: css("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 };
  const look = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font, modebar: modebar(css("--muted"), css("--accent")) };
  Plotly.react($(id), traces, { ...look, ...layout }, { displaylogo: false, showSendToCloud: false, responsive: true });
}

// x, y and z of a cloud of encoded int16 coordinates
function axesOf(unit, text) {
  const flat = numbers(text, Int16Array);
  const axis = (k) => flat.filter((_, i) => i % 3 === k).map((v) => unit * v);
  return { x: axis(0), y: axis(1), z: axis(2) };
}

// the look of points by their share, in 0 … 1, of the cloud's largest saliency; the salient are few, hence larger
function saliencyMarker(id, share) {
  const side = Math.min($(id).clientWidth, $(id).clientHeight);
  const size = Math.min(12, Math.max(3, (0.42 * side) / Math.sqrt(share.length)));
  const colorscale = DATA.levels.map((level, k) => [k / (DATA.levels.length - 1), level]);
  const colorbar = {
    orientation: "h", y: -0.02, yanchor: "bottom", len: 0.6, thickness: 8, outlinewidth: 0, tickvals: [0, 0.5, 1],
    ticktext: ["0 or less", "0.5", "1"], title: { text: "saliency / its maximum in this cloud", side: "top" },
  };
  return { size: share.map((s) => size * (1 + s)), sizemode: "diameter", opacity: 1, line: { color: "#fff", width: 0.5 }, color: share, cmin: 0, cmax: 1, colorscale, colorbar };
}

// ranges of the axes that hold the cloud however it is turned; the same on all axes, so that no zoom distorts the next
function ballOf({ x, y, z }) {
  const middle = [x, y, z].map((v) => (Math.min(...v) + Math.max(...v)) / 2);
  const radius = x.reduce((r, _, i) => Math.max(r, Math.hypot(x[i] - middle[0], y[i] - middle[1], z[i] - middle[2])), 0) || 1;
  return middle.map((m) => [m - 1.05 * radius, m + 1.05 * radius]);
}

// a cloud, z up, above its scale or legend; `text` stands in for one that is not there
function plotCloud(id, cloud, traces, text, more) {
  const ranges = cloud ? ballOf(cloud) : [[0, 1], [0, 1], [0, 1]];
  const [xaxis, yaxis, zaxis] = ranges.map((range) => ({ visible: false, range }));
  const camera = { eye: { x: 1.2, y: 1.2, z: 0.62 } }; // azimuth 45°, elevation 20°
  plot(id, traces, {
    scene: { domain: { y: [Math.min(0.3, 64 / $(id).clientHeight), 1] }, aspectmode: "manual", aspectratio: { x: 1.45, y: 1.45, z: 1.45 }, xaxis, yaxis, zaxis, camera },
    annotations: cloud ? [] : [{ text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }],
    xaxis: { visible: false }, yaxis: { visible: false }, margin: { l: 0, r: 0, t: 0, b: 8 },
    uirevision: "one", // the view stays when the cloud changes
    ...more,
  });
}

// scrolls the box of the item, never the page; what covers the top of the box is `above` pixels high
function keepInView(box, item, above = 0) {
  const [outer, inner] = [box, item].map((node) => node.getBoundingClientRect());
  const top = inner.top - outer.top + box.scrollTop;
  box.scrollTop = Math.max(Math.min(box.scrollTop, top - above), top + inner.height - box.clientHeight);
}

