// The list: filters, order, pages, copy and download. Without it the page shows the first rows.
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("list-data").textContent);
  var words = JSON.parse(document.getElementById("list-words").textContent);
  var total = data.scores.length;
  var LEVELS = ["low", "medium", "high"];
  var table = document.getElementById("list");
  var body = table.tBodies[0];
  var status = document.getElementById("list-status");
  var said = document.getElementById("list-said");
  var search = document.getElementById("list-search");
  var flaggedOnly = document.getElementById("list-flagged");
  var levelBoxes = Array.prototype.slice.call(document.querySelectorAll("input[data-level]"));
  var selects = Array.prototype.slice.call(document.querySelectorAll("select[data-column]"));
  var size = document.getElementById("list-size");
  var pageStatus = document.getElementById("list-page");
  var previous = document.getElementById("list-previous");
  var next = document.getElementById("list-next");
  var heads = Array.prototype.slice.call(table.tHead.querySelectorAll("th[data-sort]"));

  var whole = new Intl.NumberFormat(words.locale);
  var decimal = new Intl.NumberFormat(words.locale, { minimumFractionDigits: 3, maximumFractionDigits: 3 });

  function folded(text) {
    return String(text).toLowerCase().normalize("NFD").replace(/[\u0300-\u036f]/g, "");
  }
  function filled(template, values) {
    return template.replace(/\{(\w+)\}/g, function (_all, name) { return values[name]; });
  }
  function valueOf(column, row) {
    return column.values === null ? column.rows[row] : column.values[column.rows[row]];
  }

  // What is searched: each row's own words once, what reasons are made of once for all rows.
  var texts = null;
  function rowTexts() {
    if (texts === null) {
      texts = new Array(total);
      for (var row = 0; row < total; row++) {
        var parts = [];
        for (var c = 0; c < data.columns.length; c++) parts.push(valueOf(data.columns[c], row));
        texts[row] = folded(parts.join(" "));
      }
    }
    return texts;
  }
  var labelTexts = data.labels.map(folded), valueTexts = data.values.map(folded);
  function matches(word) {
    function hits(list) { return list.map(function (text) { return text.indexOf(word) >= 0; }); }
    var own = rowTexts(), labels = hits(labelTexts), values = hits(valueTexts);
    return function (row) {
      if (own[row].indexOf(word) >= 0) return true;
      for (var place = 0; place < data.reasons.length; place++) {
        var reason = data.reasons[place];
        var label = reason[0][row];
        if (label >= 0 && (labels[label] || values[reason[1][row]])) return true;
      }
      return false;
    };
  }

  var state = { shown: [], page: 0, sort: "score", descending: true };

  function chosen() {
    var levels = {};
    levelBoxes.forEach(function (box) { levels[LEVELS.indexOf(box.dataset.level)] = box.checked; });
    var tests = [];
    selects.forEach(function (select) {
      if (select.value === "") return;
      var rows = data.columns[+select.dataset.column].rows, wanted = +select.value;
      tests.push(function (row) { return rows[row] === wanted; });
    });
    folded(search.value).split(/\s+/).filter(Boolean).forEach(function (word) { tests.push(matches(word)); });
    var flags = flaggedOnly.checked, found = [];
    rows: for (var row = 0; row < total; row++) {
      if (!levels[data.levels.charCodeAt(row) - 48]) continue;
      if (flags && data.flagged[row] !== "1") continue;
      for (var t = 0; t < tests.length; t++) if (!tests[t](row)) continue rows;
      found.push(row);
    }
    return found;
  }
  function ordered(rows) {
    var sign = state.descending ? -1 : 1;
    if (state.sort === "score") {
      // The rows come the riskiest first.
      return state.descending ? rows : rows.slice().sort(function (a, b) { return data.scores[a] - data.scores[b] || a - b; });
    }
    var column = data.columns[+state.sort];
    var compare = column.numeric
      ? function (a, b) { return valueOf(column, a) - valueOf(column, b); }
      : column.values !== null
        ? function (a, b) { return column.rows[a] - column.rows[b]; }
        : (function () {
            var collator = new Intl.Collator(words.locale, { numeric: true });
            return function (a, b) { return collator.compare(column.rows[a], column.rows[b]); };
          })();
    return rows.slice().sort(function (a, b) { return sign * compare(a, b) || a - b; });
  }

  function element(name, className, text) {
    var made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function reasonsOf(row) {
    var found = [];
    for (var place = 0; place < data.reasons.length; place++) {
      var reason = data.reasons[place], label = reason[0][row];
      if (label >= 0) found.push([data.labels[label], data.values[reason[1][row]], data.added[reason[2][row]]]);
    }
    return found;
  }
  function line(row) {
    var made = element("tr");
    data.columns.forEach(function (column) {
      made.appendChild(element("td", column.numeric ? "number" : "", String(valueOf(column, row))));
    });
    var level = LEVELS[+data.levels[row]], cell = element("td", "nowrap");
    cell.appendChild(element("span", "level " + level, words.levels[level]));
    made.appendChild(cell);
    var score = element("td", "score", decimal.format(data.scores[row] / 1e6));
    score.dataset.label = words.score;
    made.appendChild(score);
    var flagged = element("td", "", data.flagged[row] === "1" ? words.yes : words.no);
    flagged.dataset.label = words.flagged;
    made.appendChild(flagged);
    var reasons = element("td", "reasons"), list = element("ul");
    reasonsOf(row).forEach(function (reason) {
      var item = element("li", "", reason[1] === "" ? reason[0] : reason[0] + words.between + reason[1] + " ");
      if (reason[2] !== "") item.appendChild(element("span", "added", "(" + reason[2] + ")"));
      list.appendChild(item);
    });
    if (list.firstChild) reasons.appendChild(list);
    made.appendChild(reasons);
    return made;
  }
  function draw(rows) {
    var fragment = document.createDocumentFragment();
    rows.forEach(function (row) { fragment.appendChild(line(row)); });
    body.replaceChildren(fragment);
  }
  function show() {
    var many = +size.value, pages = Math.max(1, Math.ceil(state.shown.length / many));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    draw(state.shown.slice(state.page * many, (state.page + 1) * many));
    pageStatus.textContent = filled(words.page, { page: whole.format(state.page + 1), pages: whole.format(pages) });
    previous.disabled = state.page === 0;
    next.disabled = state.page >= pages - 1;
  }
  function update() {
    state.shown = ordered(chosen());
    state.page = 0;
    var flagged = 0;
    state.shown.forEach(function (row) { if (data.flagged[row] === "1") flagged++; });
    status.textContent = filled(words.status, {
      shown: whole.format(state.shown.length), total: whole.format(total), flagged: whole.format(flagged)
    });
    heads.forEach(function (head) {
      if (head.dataset.sort === state.sort) head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    show();
  }

  // --- copy and download
  function cells(row) {
    var reasons = reasonsOf(row).map(function (reason) {
      return reason[1] === "" && reason[2] === "" ? reason[0] : reason[0] + words.between + reason[1] + " (" + reason[2] + ")";
    });
    while (reasons.length < data.reasons.length) reasons.push("");
    return data.columns.map(function (column) { return String(valueOf(column, row)); }).concat(
      [(data.scores[row] / 1e6).toFixed(6), LEVELS[+data.levels[row]], data.flagged[row] === "1" ? "at_risk" : "not_at_risk"],
      reasons
    );
  }
  function header() {
    return data.columns.map(function (column) { return column.name; }).concat(
      ["risk_score", "risk_level", "prediction"], data.reasons.map(function (_one, place) { return "reason_" + (place + 1); })
    );
  }
  // A spreadsheet would run a text that begins like a formula.
  function harmless(text) {
    return /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && !/^[+-]?\d+([.,]\d+)?$/.test(text) ? "'" + text : text;
  }
  function quoted(text) {
    text = harmless(text);
    return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }
  function lines(cell, between) {
    return [header()].concat(state.shown.map(cells)).map(function (row) { return row.map(cell).join(between); }).join("\n") + "\n";
  }
  document.getElementById("list-download").addEventListener("click", function () {
    var link = element("a");
    link.href = URL.createObjectURL(new Blob([lines(quoted, ",")], { type: "text/csv;charset=utf-8" }));
    link.download = words.file;
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 60000);
    said.textContent = filled(words.downloaded, { count: whole.format(state.shown.length), file: words.file });
  });
  document.getElementById("list-copy").addEventListener("click", function () {
    var text = lines(function (cell) { return harmless(cell).replace(/[\t\r\n]+/g, " "); }, "\t");
    function done() { said.textContent = filled(words.copied, { count: whole.format(state.shown.length) }); }
    function old() {
      var area = element("textarea");
      area.value = text;
      area.setAttribute("aria-hidden", "true");
      area.style.position = "fixed";
      area.style.opacity = "0";
      document.body.appendChild(area);
      area.select();
      var copied = document.execCommand("copy");
      area.remove();
      document.getElementById("list-copy").focus();
      if (copied) done(); else said.textContent = words.not_copied;
    }
    if (navigator.clipboard && navigator.clipboard.writeText) navigator.clipboard.writeText(text).then(done, old);
    else old();
  });

  // --- what a person does
  levelBoxes.concat(selects, [flaggedOnly]).forEach(function (control) { control.addEventListener("change", update); });
  search.addEventListener("input", update);
  document.getElementById("list-reset").addEventListener("click", function () {
    levelBoxes.forEach(function (box) { box.checked = true; });
    selects.forEach(function (select) { select.value = ""; });
    flaggedOnly.checked = false;
    search.value = "";
    state.sort = "score";
    state.descending = true;
    update();
  });
  heads.forEach(function (head) {
    var button = element("button", "", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", function () {
      var again = state.sort === head.dataset.sort;
      state.descending = again ? !state.descending : head.dataset.sort === "score";
      state.sort = head.dataset.sort;
      update();
    });
  });
  size.addEventListener("change", show);
  previous.addEventListener("click", function () { state.page--; show(); });
  next.addEventListener("click", function () { state.page++; show(); });
  // A heading that is repeated on every sheet shows no buttons.
  var buttons = heads.map(function (head) { return head.firstChild; });
  window.addEventListener("beforeprint", function () {
    var printed = state.shown.slice(0, words.printed);
    document.getElementById("list-printed").textContent = filled(words.on_paper, {
      printed: whole.format(printed.length), shown: whole.format(state.shown.length), total: whole.format(total)
    });
    heads.forEach(function (head, place) { head.textContent = buttons[place].textContent; });
    draw(printed);
  });
  window.addEventListener("afterprint", function () {
    heads.forEach(function (head, place) { head.replaceChildren(buttons[place]); });
    show();
  });
  document.documentElement.classList.add("scripted");
  update();
})();
