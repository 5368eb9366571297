"use strict";
// A point of a figure leads to its trainings: hover it, or reach it by Tab and the arrow keys; a click or Enter keeps it.
// All that is shown comes from the rows of a folder that others may have made: it becomes text, never markup.

const INK = { fit: "#0072b2", unfit: "#d55e00", diverged: "#000000", stalled: "#cc79a7", failed: "#777777", other: "#777777" };
const [PANEL, LEAST] = [400, 136]; // pixels of the panel's height, at most and at least
const REACH = 64; // pixels from a point at which the pointer still means it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}
const make = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

function counts(told, point) {
  const [, numbers, share] = point;
  const all = numbers.reduce((a, b) => a + b, 0);
  const parts = told.outcomes.map((name, i) => `${numbers[i].toLocaleString("en")} ${name}`).filter((_, i) => numbers[i]);
  const fits = share ? `; share that fits ${share[0]} [${share[1]}, ${share[2]}]` : "";
  return `${all.toLocaleString("en")} training${all === 1 ? "" : "s"}: ${parts.join(", ")}${fits}`;
}

// Marks between two ends, both in hundredths of a decade: [where, label]. Of few decades also 2 and 5.
function ticks(low, high) {
  const step = Math.max(1, Math.ceil((high - low) / 400));
  const marks = [];
  for (let k = Math.floor(low / 100); 100 * k <= high; k += step) {
    if (high - low > 200) marks.push([100 * k, ["10", draw("tspan", { dy: -4, "font-size": 8 }, String(k))]]);
    else for (const f of [1, 2, 5]) marks.push([100 * (k + Math.log10(f)), [String(+(f * 10 ** k).toPrecision(1))]]);
  }
  return marks.filter(([at]) => low <= at && at <= high);
}

// Loss over step + 1, both logarithmic, one line a training.
function curves(told, cells) {
  const lines = cells.map((cell) => cell[5][0].map((step, i) => [100 * Math.log10(step + 1), cell[5][1][i]]));
  const every = lines.flat();
  if (!every.length) return make("p", { class: "quiet" }, "No loss curve is recorded here.");
  const [left, top, width, height] = [38, 18, 250, 150];
  const right = Math.max(...every.map((one) => one[0]), 1);
  const [low, high] = [Math.min(...every.map((one) => one[1])) - 10, Math.max(...every.map((one) => one[1])) + 10];
  const x = (value) => (left + (width * value) / right).toFixed(1);
  const y = (value) => (top + (height * (high - value)) / (high - low)).toFixed(1);
  const picture = draw("svg", { viewBox: `0 0 ${left + width + 12} ${top + height + 34}`, role: "img",
    "aria-label": "loss along the training" });
  for (const [at, label] of ticks(low, high)) {
    picture.append(draw("path", { d: `M${left} ${y(at)}h${width}`, class: "grid" }),
      draw("text", { x: left - 5, y: +y(at) + 4, "text-anchor": "end" }, ...label));
  }
  for (const [at, label] of ticks(0, right)) {
    picture.append(draw("path", { d: `M${x(at)} ${top}v${height}`, class: "grid" }),
      draw("text", { x: x(at), y: top + height + 14, "text-anchor": "middle" }, ...label));
  }
  picture.append(draw("path", { d: `M${left} ${top}v${height}h${width}`, class: "axes" }),
    draw("text", { x: left + width, y: top + height + 28, "text-anchor": "end" }, "step + 1"),
    draw("text", { x: 4, y: 11 }, "loss"));
  lines.forEach((line, i) => {
    if (!line.length) return;
    const at = line.map(([a, b]) => `${x(a)} ${y(b)}`).join("L");
    picture.append(draw("path", { d: `M${at}${line.length === 1 ? "h.1" : ""}`, class: "curve", "data-cell": i,
      stroke: INK[told.outcomes[cells[i][1]]] }));
  });
  return picture;
}

function copier(code) {
  const button = make("button", { type: "button" }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code); // without the right to the clipboard: ready for Ctrl-C
      button.textContent = "selected";
    }
  });
  return button;
}

// The table of a point's trainings; `choose` is called with the number of one.
function table(told, cells, choose) {
  const rows = cells.map(([seed, outcome, steps, loss, address], i) => {
    const button = make("button", { type: "button", class: "address" }, address || "no address");
    button.addEventListener("click", () => choose(i));
    const name = told.outcomes[outcome];
    const dot = make("span", { class: "dot" });
    dot.style.background = INK[name];
    return make("tr", {}, make("td", { class: "n" }, seed), make("td", {}, dot, name), make("td", { class: "n" }, steps),
      make("td", { class: "n" }, loss), make("td", {}, button));
  });
  const names = { seed: "n", outcome: "", steps: "n", loss: "n", training: "" };
  const head = Object.entries(names).map(([name, side]) => make("th", { class: side }, name));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function fill(panel, told, point, close) {
  const [values, numbers, , cells] = point;
  const named = cells.length < numbers.reduce((a, b) => a + b, 0);
  const code = make("code");
  const replay = make("p", { class: "replay" }, make("span", {}, "Train it again: "), code, " ", copier(code));
  const choose = (i) => {
    for (const one of panel.querySelectorAll("[data-cell], tbody tr")) one.classList.remove("chosen");
    panel.querySelectorAll("tbody tr")[i].classList.add("chosen");
    panel.querySelector(`[data-cell="${i}"]`)?.classList.add("chosen");
    replay.hidden = !cells[i][4];
    code.textContent = `${told.replay} ${cells[i][4]}`;
    replay.querySelector("button").textContent = "copy";
  };
  const leave = make("button", { type: "button", class: "close", "aria-label": "close" }, "×");
  leave.addEventListener("click", close);
  panel.replaceChildren(
    make("div", { class: "head" }, leave, make("strong", {}, title(told, point)),
      told.fixed ? make("span", { class: "quiet" }, `  at ${told.fixed}`) : null, make("div", {}, counts(told, point)), replay),
    make("div", { class: "body" }, make("div", {}, curves(told, cells)), make("div", {}, table(told, cells, choose),
      named ? make("p", { class: "quiet" }, `${cells.length} of them, the failed and the rarest outcome first.`) : null)));
  panel.hidden = false;
  panel.scrollTop = 0;
  if (cells.length) choose(0);
}

const title = (told, point) => told.names.map((name, i) => `${name} = ${point[0][i]}`).join(", ");

// The number of the spot nearest to (x, y) in pixels; along `way` only what lies ahead, what lies aside counts thrice.
function nearest(spots, box, x, y, way) {
  let [found, least] = [-1, way ? Infinity : REACH];
  spots.forEach(([a, b], i) => {
    const [dx, dy] = [a * box.width - x, b * box.height - y];
    const ahead = way && dx * way[0] + dy * way[1];
    const far = way ? (ahead > 1 ? ahead + 3 * Math.abs(dx * way[1] + dy * way[0]) : Infinity) : Math.hypot(dx, dy);
    if (far < least) [found, least] = [i, far];
  });
  return found;
}

function lead(figure, told, spots, first) {
  const picture = figure.querySelector(".picture");
  const mark = make("button", { type: "button", class: "mark", "aria-expanded": "false" });
  const said = make("span", { class: "said", role: "status" }); // for screen readers, as the point moves
  const panel = make("div", { class: "panel", role: "region", "aria-label": "trainings of a point" });
  let [at, kept] = [0, false];
  panel.hidden = true;
  picture.classList.add("leads");
  picture.append(mark);
  figure.append(said, panel);
  if (first) {
    figure.querySelector("figcaption").append(make("span", { class: "hint" },
      " Hover a point, or Tab to it and use the arrow keys: its trainings. A click or Enter keeps it, Escape lets go."));
  }

  function move(i) {
    at = i;
    mark.style.left = `${100 * spots[i][0]}%`;
    mark.style.top = `${100 * spots[i][1]}%`;
    mark.setAttribute("aria-label", `${title(told, told.points[spots[i][2]])}: ${counts(told, told.points[spots[i][2]])}`);
  }
  function close() {
    kept = false;
    panel.hidden = true;
    show(false);
  }
  function show(open = true) {
    picture.classList.toggle("kept", kept);
    picture.classList.toggle("open", open);
    mark.setAttribute("aria-expanded", String(open));
    said.textContent = open ? mark.getAttribute("aria-label") : "";
    if (open) fill(panel, told, told.points[spots[at][2]], close);
    if (open) place();
  }
  // Where the window has more room, above or below the picture, and no more of it: the other points stay in reach. A
  // point that is kept may have more.
  function place() {
    const [box, edge] = [picture.getBoundingClientRect(), figure.getBoundingClientRect()];
    const [above, below] = [box.top, innerHeight - box.bottom];
    const top = above > below;
    const most = Math.min(PANEL, 0.56 * innerHeight);
    const height = kept ? most : Math.min(most, Math.max(LEAST, top ? above : below));
    panel.classList.toggle("above", top);
    Object.assign(panel.style, { height: `${height}px`, left: top ? `${edge.left}px` : "", width: top ? `${edge.width}px` : "" });
  }
  const under = (event) => {
    const box = picture.getBoundingClientRect();
    return nearest(spots, box, event.clientX - box.left, event.clientY - box.top);
  };
  picture.addEventListener("pointermove", (event) => {
    const i = kept || event.pointerType === "touch" ? -1 : under(event);
    if (i < 0 || (i === at && !panel.hidden)) return;
    move(i);
    show();
  });
  picture.addEventListener("click", (event) => {
    const i = event.detail ? under(event) : at; // a key on the mark has no place
    if (i < 0) return;
    kept = !(kept && i === at);
    move(i);
    show();
  });
  addEventListener("scroll", () => panel.hidden || place(), { passive: true });
  addEventListener("resize", () => panel.hidden || place());
  mark.addEventListener("focus", () => panel.hidden && show());
  document.addEventListener("keydown", (event) => event.key === "Escape" && !panel.hidden && close());
  figure.addEventListener("keydown", (event) => {
    if (event.target !== mark || !(event.key in ARROWS)) return;
    event.preventDefault();
    const box = picture.getBoundingClientRect();
    const i = nearest(spots, box, spots[at][0] * box.width, spots[at][1] * box.height, ARROWS[event.key]);
    if (i < 0) return;
    move(i);
    show();
  });
  move(0);
}

for (const data of document.querySelectorAll("script.trainings")) {
  const told = JSON.parse(data.textContent);
  const figures = [...data.closest("section").querySelectorAll("figure")].filter((one) => told.figures[one.dataset.key]);
  figures.forEach((figure, i) => lead(figure, told, told.figures[figure.dataset.key], i === 0));
}
