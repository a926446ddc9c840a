// What the page does when scripts may run: one crosshair and one zoom for all panes, a second's
// worst requests, lines by what is chosen, links into time. Words only ever become text nodes.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const chart = document.querySelector("svg.timeline");
  const readout = document.getElementById("readout");
  if (!chart || !readout) return;
  const SVG = "http://www.w3.org/2000/svg", UNITS = 10;
  const plots = [...chart.querySelectorAll("svg.plot")];
  const LEFT = +plots[0].getAttribute("x"), PLOT = +plots[0].getAttribute("width");
  const WIDTH = chart.viewBox.baseVal.width;
  let view = [0, data.duration], at = null;

  const make = (name, words, attributes) => {
    const one = document.createElement(name);
    if (words !== undefined) one.textContent = words;
    for (const [key, value] of Object.entries(attributes || {})) one.setAttribute(key, value);
    return one;
  };
  const draw = (name, attributes, words) => {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (words !== undefined) one.textContent = words;
    return one;
  };
  const ms = (value) => value === null ? "–" : value < 0 ? "failed"
    : `${value >= 100 ? Math.round(value) : +value.toPrecision(3)} ms`;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // Zoom: every plot shows the same stretch, and words follow their second.
  const crosses = plots.map((plot) => {
    const cross = draw("line", {class: "cross", y1: 0, y2: plot.getAttribute("height"), x1: -9, x2: -9});
    plot.append(cross);
    return cross;
  });
  const place = (word) => {
    const t = +word.getAttribute("data-at");
    const inside = t >= view[0] - 1e-6 && t <= view[1] + 1e-6;
    word.classList.toggle("out", !inside);
    word.setAttribute("x", LEFT + PLOT * (t - view[0]) / (view[1] - view[0]));
  };
  const ticks = () => {
    const old = [...chart.querySelectorAll("text.axis")], y = old[0].getAttribute("y");
    old.forEach((one) => one.remove());
    const rough = (view[1] - view[0]) / 10, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((s) => s * power).find((s) => s >= rough * (1 - 1e-9));
    for (let n = Math.ceil(view[0] / step - 1e-9); n * step <= view[1] + 1e-9; n += 1) {
      const t = +(n * step).toFixed(6);
      chart.append(draw("text", {class: "tick axis", "data-at": t, y, "text-anchor": "middle"}, `${t} s`));
    }
  };
  const zoom = (begin, end) => {
    const length = clamp(end - begin, 4 * data.width, data.duration);
    begin = clamp(begin, 0, data.duration - length);
    view = [begin, begin + length];
    for (const plot of plots) {
      plot.setAttribute("viewBox", `${begin * UNITS} 0 ${length * UNITS} ${plot.getAttribute("height")}`);
    }
    ticks();
    chart.querySelectorAll("text[data-at]").forEach(place);
  };
  const around = (factor, middle) => {
    const m = middle === undefined ? (at === null ? (view[0] + view[1]) / 2 : at) : middle;
    zoom(m - (m - view[0]) * factor, m + (view[1] - m) * factor);
  };

  // The crosshair, and what is told of a second.
  const status = make("p", "", {class: "soft", id: "status", role: "status"});
  const say = (t) => {
    const bin = clamp(Math.floor(t / data.width), 0, data.total.length - 1);
    const total = data.total[bin], good = data.good[bin];
    status.textContent = `${t.toFixed(1)} s: ${good} of ${total} requests good`;
  };
  const cross = (t) => {
    at = clamp(t, 0, data.duration);
    crosses.forEach((one) => { one.setAttribute("x1", at * UNITS); one.setAttribute("x2", at * UNITS); });
    say(at);
  };
  const table = (head, rows, css) => {
    const whole = make("table", undefined, {class: css}), top = make("tr"), body = make("tbody");
    head.forEach((word) => top.append(make("th", word, {scope: "col"})));
    rows.forEach((row) => {
      const line = make("tr");
      row.forEach((word, n) => line.append(make("td", word, {"data-label": head[n]})));
      body.append(line);
    });
    const group = make("thead");
    group.append(top);
    whole.append(group, body);
    return whole;
  };
  const tell = (t, quiet) => {
    cross(t);
    const bin = clamp(Math.floor(at / data.width), 0, data.total.length - 1);
    const begin = bin * data.width, end = begin + data.width;
    const told = data.total[bin] - data.good[bin];
    readout.replaceChildren(make("h3", `${begin} to ${end} s: ${data.total[bin]} requests, ${told} not good`));
    const rows = data.worst.filter((one) => one[0] === bin).map((one) => [
      `${one[1].toFixed(2)} s`, ms(one[2]), one[4] && data.words[one[3]] !== "ok" ? `${one[4]} ${data.words[one[3]]}` : data.words[one[3]],
      `${data.words[one[6]]} (${data.words[one[7]]})`, data.words[one[8]], data.words[one[9]], String(one[5]), data.words[one[10]]]);
    // The column of traces is there where a request of this second has one.
    const columns = rows.some((row) => row[7]) ? 8 : 7;
    readout.append(make("h4", "Its worst requests"));
    readout.append(rows.length
      ? table(["At", "Latency", "Outcome", "Route", "Population", "Served by", "Attempt", "Trace"].slice(0, columns), rows.map((row) => row.slice(0, columns)), "cards")
      : make("p", "No request was due in this second."));
    const near = data.events.filter((one) => one[0] >= begin - 3 && one[0] <= end + 3);
    readout.append(make("h4", "The timeline within 3 s of it"));
    readout.append(near.length
      ? table(["At", "Event", "What"], near.map((one) => [`${one[0].toFixed(2)} s`, one[1], one[2]]), "cards")
      : make("p", "Nothing was noted."));
    const close = make("button", "Close", {type: "button"});
    close.addEventListener("click", () => { readout.hidden = true; chartBox.focus(); });
    readout.append(close);
    readout.hidden = false;
    if (!quiet) history.replaceState(null, "", `#t=${at.toFixed(1)}`);
  };

  const chartBox = chart.parentElement;
  const time = (event) => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * WIDTH;
    return view[0] + (view[1] - view[0]) * clamp((x - LEFT) / PLOT, 0, 1);
  };
  let from = null;
  const band = crosses.map((one) => {
    const shade = draw("rect", {class: "band", x: 0, y: 0, width: 0, height: one.getAttribute("y2")});
    one.parentElement.append(shade);
    return shade;
  });
  const shade = (a, b) => band.forEach((one) => {
    one.setAttribute("x", Math.min(a, b) * UNITS);
    one.setAttribute("width", Math.abs(b - a) * UNITS);
  });
  chart.addEventListener("pointermove", (event) => {
    cross(time(event));
    if (from !== null) shade(from, at);
  });
  chart.addEventListener("pointerdown", (event) => { if (event.button === 0) from = time(event); });
  window.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const begin = from, end = time(event), wide = Math.abs(end - begin) / (view[1] - view[0]) > 0.015;
    from = null;
    shade(0, 0);
    if (wide && event.pointerType !== "touch") zoom(Math.min(begin, end), Math.max(begin, end));
    else if (chart.contains(event.target)) tell(end);
  });
  chart.addEventListener("dblclick", () => zoom(0, data.duration));
  chartBox.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? (view[1] - view[0]) / 4 : data.width;
    const keys = {
      ArrowLeft: () => event.shiftKey ? zoom(view[0] - step, view[1] - step) : cross((at ?? view[0]) - step),
      ArrowRight: () => event.shiftKey ? zoom(view[0] + step, view[1] + step) : cross((at ?? view[0]) + step),
      "+": () => around(0.5), "=": () => around(0.5), "-": () => around(2), 0: () => zoom(0, data.duration),
      Enter: () => tell(at ?? view[0]), Escape: () => { readout.hidden = true; },
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  // The buttons exist only where they work.
  const tools = make("div", undefined, {class: "tools"});
  [["Closer", () => around(0.5)], ["Further", () => around(2)], ["Whole run", () => zoom(0, data.duration)]]
    .forEach(([word, act]) => {
      const button = make("button", word, {type: "button"});
      button.addEventListener("click", act);
      tools.append(button);
    });

  // The free pane: lines by what is chosen.
  const plot = chart.querySelector("svg.p-latency-free");
  const choose = (id, label, words, usual) => {
    const box = make("select", undefined, {id});
    words.forEach(([value, word]) => {
      const one = make("option", word, {value});
      one.selected = value === usual;
      box.append(one);
    });
    const named = make("label", `${label} `, {for: id});
    tools.append(named, box);
    box.addEventListener("change", redraw);
    return box;
  };
  const redraw = () => {
    const height = +plot.getAttribute("height"), cut = data.lines[by.value], q = quantile.value;
    const names = Object.keys(cut.groups);
    const usual = (values) => { const known = values.filter((v) => v !== null).map((v) => v < 0 ? 1e9 : v).sort((a, b) => a - b); return known.length ? known[known.length >> 1] : -1; };
    names.sort((a, b) => usual(cut.groups[b][q]) - usual(cut.groups[a][q]) || (a < b ? -1 : 1));
    const finite = names.flatMap((name) => cut.groups[name][q]).filter((v) => v !== null && v > 0);
    const low = 10 ** Math.floor(Math.log10(Math.max(0.1, Math.min(...finite, 1e5))));
    const high = Math.max(low * 10, 10 ** Math.ceil(Math.log10(Math.max(...finite, 1))));
    const level = (v) => v < 0 ? 0 : height * (1 - 0.9 * clamp(Math.log10(v / low) / Math.log10(high / low), 0, 1));
    plot.querySelectorAll("path").forEach((one) => one.remove());
    chart.querySelectorAll(".free").forEach((one) => one.remove());
    const top = +plot.getAttribute("y");
    const list = make("ul");
    names.forEach((name, n) => {
      const lettered = n < 10, css = lettered ? `line l${n}` : "line rest";
      let d = "", before = null, last = null;
      cut.groups[name][q].forEach((v, i) => {
        const x = i * cut.step * UNITS, end = (i + 1) * cut.step * UNITS;
        if (v !== null) { last = level(v); d += `${before === null ? "M" : "L"}${x},${last.toFixed(1)}H${end}`; }
        before = v;
      });
      const path = draw("path", {class: css, d});
      path.append(draw("title", {}, name));
      plot.insertBefore(path, plot.querySelector(".cross"));
      if (!lettered || last === null) return;
      const letter = "abcdefghij"[n], item = make("li");
      chart.append(draw("text", {class: `end free l${n}`, x: LEFT + PLOT + 5 + (n % 2) * 9, y: top + last + 4}, letter));
      const swatch = draw("svg", {class: "swatch", viewBox: "0 0 22 10", "aria-hidden": "true"});
      swatch.append(draw("path", {class: css, d: "M0,5H22"}));
      item.append(swatch, " ", make("b", letter), ` ${name}, usually ${ms(usual(cut.groups[name][q]) === 1e9 ? -1 : usual(cut.groups[name][q]))}`);
      list.append(item);
    });
    for (let tick = low; tick <= high * 1.001; tick *= 10) {
      chart.append(draw("text", {class: "tick free", x: LEFT - 6, y: top + level(tick) + 4, "text-anchor": "end"}, ms(tick)));
    }
    chart.querySelectorAll(".own-latency-free").forEach((one) => one.classList.add("out"));
    const title = `Latency: ${quantile.selectedOptions[0].textContent} by ${by.value}, one step ${cut.step} s`;
    chart.append(draw("text", {class: "title free", x: LEFT, y: top - 5}, title));
    const legend = document.getElementById("legend-latency-free");
    if (legend) legend.replaceChildren(make("span", "Latency"), list);
  };
  const cuts = Object.keys(data.lines);
  let by = null, quantile = null;
  if (plot && cuts.length) {
    by = choose("by", "Latency by", cuts.map((name) => [name, name]), data.by);
    quantile = choose("quantile", "", [["0.5", "p50"], ["0.95", "p95"], ["0.99", "p99"], ["worst", "slowest answer"]], "0.95");
    quantile.setAttribute("aria-label", "Quantile");
  }
  tools.append(make("small", "Drag to zoom, double click for all, click a second for its worst requests. Keys: arrows, + and -, Enter, 0."));
  chartBox.before(tools, status);

  // Links: an anchor inside what is folded opens it; #t= and ?t= go to a second.
  const follow = () => {
    const wanted = /^#t=([\d.]+)$/.exec(location.hash) || /[?&]t=([\d.]+)/.exec(location.search);
    if (wanted && (location.hash.startsWith("#t=") || !location.hash)) {
      tell(+wanted[1], true);
      chartBox.scrollIntoView({block: "start"});
      return;
    }
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let up = target; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  follow();
  document.documentElement.dataset.ready = "yes";
})();
