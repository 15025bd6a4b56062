"use strict";
// The page is a client of the HTTP API and nothing more: what it shows comes from the node
// that served it, and what it may do is what that node allows.
const $ = (id) => document.getElementById(id);
const text = (element, value) => { if (element.textContent !== value) { element.textContent = value; } };
const state = (element, value) => { if (element.dataset.state !== value) { element.dataset.state = value; } };
// An element with properties, children and texts; properties with a dash are attributes.
const make = (tag, properties, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
        if (name.includes("-") || name === "role" || name === "scope") { element.setAttribute(name, value); } else { element[name] = value; }
    }
    element.append(...children);
    return element;
};
const button = (label, run, kind) => make("button", { type: "button", className: kind || "", onclick: run }, label);
const number = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const bytes = (value) => {
    let unit = 0;
    while (value >= 1000 && unit < 4) { value /= 1024; unit++; }
    return (unit && value < 99.95 ? value.toFixed(1) : Math.round(value)) + ["\u00a0B", "\u00a0KiB", "\u00a0MiB", "\u00a0GiB", "\u00a0TiB"][unit];
};
const ms = (value) => (value < 1 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)) + "\u00a0ms";
const seconds = (s) => s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " days";
const clock = () => new Date().toTimeString().slice(0, 8);
const list = (words) => words.length < 2 ? words.join("") : words.slice(0, -1).join(", ") + " and " + words[words.length - 1];

// ---- requests ----

// Credentials live in this variable alone. The browser sends none by itself, so that no
// other page can use them.
let credentials = null;
let me = { auth: false, perms: [] };

class Problem extends Error {
    constructor(status, body) {
        super(body.message || "the node answered " + status);
        Object.assign(this, { status, body, code: body.code });
    }
}
const headersWith = (more) => ({ Accept: "application/json", ...(credentials ? { Authorization: credentials } : {}), ...more });
const ask = async (method, path, options) => {
    const { headers, body, wait = 15000, signal } = options || {};
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), wait);
    if (signal) { signal.addEventListener("abort", () => stop.abort()); }
    try {
        const answer = await fetch(path, { method, body, headers: headersWith(headers), credentials: "omit", cache: "no-store", signal: stop.signal });
        if (!answer.ok) {
            throw new Problem(answer.status, await answer.json().catch(() => ({})));
        }
        const kind = answer.headers.get("Content-Type") || "";
        const result = kind.startsWith("application/json") ? await answer.json() : kind.startsWith("text/") ? await answer.text() : null;
        return { result, headers: answer.headers, status: answer.status };
    } finally {
        clearTimeout(timer);
    }
};
const get = async (path, options) => (await ask("GET", path, options)).result;
const why = (error) => error instanceof Problem
    ? error.message + (error.body.outcome === "unknown" ? " (it may have happened, or not)" : "")
    : !(error instanceof TypeError || error instanceof DOMException) ? error.message
    : error.name === "AbortError" ? "the node did not answer in time" : "the node cannot be reached";

const complain = (words) => { text($("message"), words); $("message").hidden = !words; };
const report = (words) => { complain(""); text($("done"), words ? clock() + "  " + words : ""); };

// ---- who may do what ----

const may = (perm, key) => me.perms.some((one) => one === perm ||
    (key !== undefined && one.startsWith(perm + ":") && key.startsWith(one.slice(perm.length + 1))));
const mayBelow = (perm, prefix) => may(perm, prefix) || me.perms.some((one) =>
    one.startsWith(perm + ":") && one.slice(perm.length + 1).startsWith(prefix));

const identify = async () => {
    me = await get("/whoami");
    $("account").hidden = !me.auth;
    text($("user"), credentials ? me.user || "a token" : "not signed in");
    text($("sign"), credentials ? "Sign out" : "Sign in");
};
const login = (reason) => {
    text($("login-why"), reason || "");
    $("login").hidden = false;
    $("login-cancel").hidden = isStranger();
    $("name").focus();
};
const isStranger = () => me.auth && !me.perms.some((perm) => perm !== "ready");
const base64 = (words) => btoa(String.fromCharCode(...new TextEncoder().encode(words)));
const who = () => me.user || credentials;
// What one user was shown is not for the next one. What somebody typed when the credentials
// ended comes again with the same user, and what was typed before anybody signed in stays.
let kept = null;
const keep = () => { if (isDirty()) { kept = { who: who(), shown, written, format, typed: $("bytes").value, name: $("new-name").value }; } };
const forget = () => {
    status = root = chosen = shown = null;
    nodes = [];
    rows.clear();
    stream.stop();
    stream.state = "none";
    leaderSeen = "";
    for (const id of ["tree", "members", "hint-list", "facts", "leaders", "key-name", "meta", "theirs"]) { $(id).replaceChildren(); }
    $("value").reset();
    $("value").hidden = true;
};
const restore = () => {
    if (kept && (!kept.who || kept.who === who())) {
        ({ shown, written } = kept);
        chosen = shown.key || null;
        present();
        choose(kept.format);
        $("bytes").value = kept.typed;
        $("new-name").value = kept.name;
        buttons();
    }
    kept = null;
};
const signIn = async (event) => {
    event.preventDefault();
    keep();
    const user = $("name").value, password = $("password").value;
    credentials = user ? "Basic " + base64(user + ":" + password) : "Bearer " + password;
    try {
        await identify();
        $("password").value = "";
        $("login").hidden = true;
        report("Signed in as " + (me.user || "the owner of a token") + ".");
        forget();
        restore();
        show();
    } catch (error) {
        credentials = null;
        text($("login-why"), error.status === 401 ? "User, password or token is wrong." : why(error));
        $("password").focus();
    }
};
const signOut = async () => {
    if (!credentials) { login(); return; }
    if (!await drops()) { return; }
    credentials = null;
    await identify().catch(() => {});
    report("Signed out.");
    forget();
    show();
};

// ---- questions ----

// Resolves to whether the user agrees; with `word` it has to be typed. A question that
// comes while another one is open is answered with no.
const confirm = ({ title, words, yes, word, danger }) => new Promise((resolve) => {
    const dialog = $("ask");
    if (dialog.open) { resolve(false); return; }
    text($("ask-title"), title);
    text($("ask-text"), words);
    text($("ask-yes"), yes);
    text($("ask-what"), "Type " + word + " to confirm");
    $("ask-yes").className = danger ? "main danger" : "main";
    $("ask-label").hidden = !word;
    $("ask-word").value = "";
    const check = () => { $("ask-yes").disabled = Boolean(word) && $("ask-word").value !== word; };
    $("ask-word").oninput = check;
    check();
    let agreed = false;
    $("ask-form").onsubmit = () => { agreed = true; };
    $("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(agreed);
    dialog.showModal();
    (word ? $("ask-word") : $("ask-no")).focus();
});

// ---- what the node says of itself ----

let status = null, nodes = [], metrics = {}, failing = 0, timer = 0, polling = false, leaderSeen;
const SAMPLES = 120, EVERY = 1000;
const plots = { writes: [], commit: [] };

const parse = (words) => {
    const found = {};
    for (const line of words.split("\n")) {
        const at = line.lastIndexOf(" ");
        if (at > 0 && line[0] !== "#") { found[line.slice(0, at)] = Number(line.slice(at + 1)); }
    }
    return found;
};
// The 99th percentile of the commits since the poll before, in ms, from the buckets of
// the histogram; null when there were none.
const percentile = (before, now) => {
    const name = "craftd_raft_commit_duration_seconds";
    const total = now[name + "_count"] - before[name + "_count"];
    if (!(total > 0)) { return null; }
    let low = 0, below = 0;
    for (const key of Object.keys(now)) {
        const bound = key.startsWith(name + "_bucket") && key.match(/le="([^"]+)"/)[1];
        if (!bound) { continue; }
        const count = now[key] - before[key];
        if (count >= total * 0.99) {
            if (bound === "+Inf") { return low * 1000; }
            return 1000 * (low + (bound - low) * (total * 0.99 - below) / Math.max(1, count - below));
        }
        if (bound !== "+Inf") { low = Number(bound); below = count; }
    }
    return null;
};
const sample = (before, metricsBefore, elapsed) => {
    const leads = status.role === "leader";
    const leader = nodes.find((node) => node.leader);
    const writes = before && elapsed > 0 ? Math.max(0, status.storage.writes - before.storage.writes) / elapsed : null;
    const commit = leads ? percentile(metricsBefore, metrics) : leader && leader.commit_p99_us !== undefined ? leader.commit_p99_us / 1000 : null;
    for (const [name, value] of [["writes", writes], ["commit", commit]]) {
        plots[name].push(value);
        if (plots[name].length > SAMPLES) { plots[name].shift(); }
    }
};

let polledAt = 0;
const poll = async () => {
    clearTimeout(timer);
    if (polling || !$("login").hidden && isStranger()) { timer = setTimeout(poll, EVERY); return; }
    polling = true;
    const before = status, metricsBefore = metrics, at = performance.now();
    try {
        if (may("status")) {
            const answers = await Promise.all([get("/status", { wait: 4000 }), get("/nodes", { wait: 4000 }), get("/metrics", { wait: 4000 })]);
            status = answers[0];
            nodes = answers[1];
            metrics = parse(answers[2]);
            sample(before, metricsBefore, (at - polledAt) / 1000);
            polledAt = at;
        } else {
            await get("/livez", { wait: 4000 });
        }
        failing = 0;
    } catch (error) {
        if (error.status === 401 && me.auth) {
            keep();
            credentials = null;
            await identify().catch(() => {});
            forget();
            login("The credentials are not valid any more.");
        } else {
            failing = failing || Date.now();
            for (const name of ["writes", "commit"]) { plots[name].push(null); }
        }
    }
    polling = false;
    draw();
    timer = setTimeout(poll, document.hidden ? 10 * EVERY : EVERY);
};

const live = () => {
    const stale = failing && Date.now() - failing > 1500;
    const waiting = stale || view === "keys" && stream.state === "wait";
    text($("live"), waiting ? "reconnecting" : "live");
    state($("live"), waiting ? "bad" : "good");
};

// ---- the view of the cluster ----

const plot = (name, format) => {
    const values = plots[name], known = values.filter((value) => value !== null);
    const top = Math.max(...known, 0) || 1, last = values[values.length - 1];
    const now = last === null || last === undefined ? "none" : format(last);
    let path = "", pen = "M";
    values.forEach((value, i) => {
        if (value === null) { pen = "M"; return; }
        path += pen + (240 - (values.length - 1 - i) * 240 / (SAMPLES - 1)).toFixed(1) + " " + (42 - value / top * 40).toFixed(1);
        path += pen === "M" ? "h0" : ""; // A value alone is a dot.
        pen = "L";
    });
    const svg = $(name);
    if (!svg.firstChild) { svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path")); }
    svg.firstChild.setAttribute("d", path);
    svg.setAttribute("aria-label", (name === "writes" ? "Writes per second: now " : "99th percentile of commits: now ") + now + ", highest in two minutes " + (known.length ? format(top) : "none"));
    text($(name + "-now"), now);
    text($(name + "-max"), known.length ? "highest " + format(Math.max(...known)) : "");
};

const verdict = () => {
    const voters = nodes.filter((node) => node.voter), up = voters.filter((node) => node.reachable);
    const down = nodes.filter((node) => !node.reachable).map((node) => node.id);
    const majority = Math.floor(voters.length / 2) + 1;
    if (failing) { return ["bad", "No answer", "since " + seconds((Date.now() - failing) / 1000) + ". What is shown is older."]; }
    if (!voters.length) { return ["warn", "Waiting", "This node is not a member of a cluster yet."]; }
    if (!status.leader.id) {
        return up.length < majority
            ? ["bad", "No quorum", up.length + " of " + voters.length + " voters can be reached from here, " + majority + " are needed. Writes are refused; this node still shows what it has. Start " + list(down) + "."]
            : ["bad", "No leader", "An election should end this within seconds."];
    }
    const leads = status.leader.id + " leads in term " + status.term + ".";
    if (down.length) {
        const spare = up.length - majority;
        return ["warn", "Degraded", leads + " " + list(down) + " cannot be reached. " + (spare > 0 ? "Writes go on; " + spare + " more may fail." : spare === 0 ? "Writes go on; no further voter may fail." : "")];
    }
    const spare = voters.length - majority;
    return status.hints.length
        ? ["warn", "Working", leads + " See below what needs attention."]
        : ["good", "Healthy", leads + (voters.length === 1 ? " One voter: no failure is tolerated." : " All " + nodes.length + " members can be reached; " + (spare === 1 ? "one voter" : spare + " voters") + " may fail.")];
};

const COLUMNS = ["Name", "Role", "State", "Address", "Version", "Lag", "Round trip", "Disk", "Memory", "Actions"];
const rows = new Map();
const rowOf = (id) => {
    let row = rows.get(id);
    if (!row) {
        row = make("tr", { role: "row" }, ...COLUMNS.map((label, i) => make("td", { role: "cell", "data-label": label, className: i === 0 ? "name" : i === 9 ? "actions" : i > 4 ? "n" : "" })));
        row.children[0].setAttribute("role", "rowheader");
        row.children[2].append(make("span", { className: "state" }), make("span", { className: "why" }));
        row.children[7].append(make("span"), make("span", { className: "why" }));
        rows.set(id, row);
    }
    return row;
};
const roleOf = (node) => node.leader ? "leader" : !node.voter ? node.role : node.id === status.me.id ? status.role : status.leader.id ? "follower" : "voter";
const drawMember = (node) => {
    const mine = node.id === status.me.id, cells = rowOf(node.id).children;
    const known = (value, format) => value === undefined ? "\u2013" : format(value);
    text(cells[0], node.id);
    text(cells[1], roleOf(node));
    text(cells[2].firstChild, node.reachable ? mine ? "this node" : "connected" : "unreachable");
    state(cells[2].firstChild, node.reachable ? "good" : "bad");
    text(cells[2].lastChild, node.reachable ? "" : (node.last_error || "no answer") + (node.report_age_ms === undefined ? "" : "; last report " + seconds(node.report_age_ms / 1000) + " ago"));
    text(cells[3], node.address);
    text(cells[4], known(node.version, String));
    text(cells[5], node.leader ? "0" : known(node.lag, number));
    text(cells[6], known(node.reachable ? node.rtt_ms : undefined, (value) => value < 1 ? "<\u20091\u00a0ms" : value + "\u00a0ms"));
    text(cells[7].firstChild, known(node.db_bytes, () => bytes(node.db_bytes + node.log_bytes)));
    text(cells[7].lastChild, node.disk_free_bytes === undefined ? "" : bytes(node.disk_free_bytes) + " free");
    text(cells[8], known(node.memory_bytes, bytes));
    drawActions(cells[9], node.id, actionsOf(node));
};
const drawMembers = () => {
    const body = $("members");
    for (const id of rows.keys()) {
        if (!nodes.some((node) => node.id === id)) { rows.get(id).remove(); rows.delete(id); }
    }
    nodes.forEach((node, i) => {
        const row = rowOf(node.id);
        drawMember(node);
        if (body.children[i] !== row) { body.insertBefore(row, body.children[i] || null); }
    });
};

const drawPairs = (box, pairs) => {
    const all = Object.entries(pairs);
    all.forEach(([name, value], i) => {
        if (!box.children[i]) { box.append(make("div", null, make("dt"), make("dd"))); }
        text(box.children[i].firstChild, name);
        text(box.children[i].lastChild, value);
    });
    while (box.children.length > all.length) { box.lastChild.remove(); }
};
const drawFacts = () => {
    const quota = status.storage.quota_bytes;
    const facts = {
        "Term": number(status.term),
        "Leader changes seen": number(metrics.craftd_raft_leader_changes_total || 0),
        "Committed": number(status.commit),
        "Applied": number(status.applied),
        "Last in the log": number(status.last_log),
        "Keys": number(status.keys),
        "Database": bytes(status.storage.db_bytes) + (quota ? " of " + bytes(quota) : ""),
        "Log": bytes(status.storage.log_bytes),
        "fdatasync, p99": status.storage.fsync_p99_ms + "\u00a0ms",
        "Connections": number(metrics.craftd_http_connections || 0) + " of " + number(status.limits.connections),
        "Watches": number(metrics.craftd_watchers || 0),
        "Version": status.version,
    };
    drawPairs($("facts"), facts);
};

const drawLeaders = () => {
    const now = status.leader.id + "/" + status.term;
    if (now === leaderSeen) { return; }
    const words = status.leader.id ? status.leader.id + " leads in term " + status.term : "no leader";
    $("leaders").prepend(make("li", null, clock() + "  " + words));
    while ($("leaders").children.length > 8) { $("leaders").lastChild.remove(); }
    leaderSeen = now;
};

// A page whose node does not answer leads to the others.
const drawOthers = () => {
    const away = failing ? nodes.filter((node) => node.http && node.reachable && node.id !== status.me.id) : [];
    const signature = away.map((node) => node.id + node.http).join();
    if ($("others").dataset.has === signature) { return; }
    $("others").dataset.has = signature;
    $("others").replaceChildren(...away.flatMap((node, i) => [i ? ", " : "Open ", make("a", { href: "http://" + node.http + "/ui", rel: "noreferrer" }, node.id)]), away.length ? "." : "");
};

const drawHints = () => {
    const box = $("hint-list");
    $("hints").hidden = !status.hints.length || Boolean(failing);
    status.hints.forEach((hint, i) => {
        if (!box.children[i]) { box.append(make("li")); }
        text(box.children[i], hint);
    });
    while (box.children.length > status.hints.length) { box.lastChild.remove(); }
};

const drawCluster = () => {
    $("known").hidden = !status;
    $("known").classList.toggle("old", Boolean(failing));
    if (!status) {
        state($("verdict"), "wait");
        text($("verdict-word"), me.auth && !may("status") ? "Not shown" : failing ? "No answer" : "Loading");
        text($("verdict-text"), me.auth && !may("status") ? "The permission status is needed for this view." : "");
        return;
    }
    const [kind, word, words] = verdict();
    state($("verdict"), kind);
    text($("verdict-word"), word);
    text($("verdict-text"), words);
    drawOthers();
    drawHints();
    plot("writes", (value) => value < 10 && value % 1 ? value.toFixed(1) : number(value));
    plot("commit", ms);
    drawMembers();
    drawOperate();
    drawFacts();
    drawLeaders();
    const leader = nodes.find((node) => node.leader);
    const link = $("from-leader"), url = leader && leader.http ? "http://" + leader.http + "/ui" : "";
    $("from").hidden = status.role === "leader" || !leader;
    text(link, leader ? leader.id : "");
    if (url && link.getAttribute("href") !== url) { link.href = url; }
    if (!url) { link.removeAttribute("href"); }
};

// ---- actions on members and nodes ----

// An action runs once, however often it is asked for meanwhile.
const running = new Set();
const attempt = async (words, run) => {
    if (running.has(words)) { return; }
    running.add(words);
    report(words + " \u2026");
    try {
        report(await run());
    } catch (error) {
        report("");
        complain(words + ": " + why(error));
    }
    running.delete(words);
    poll();
};
const act = (words, method, path, body) => attempt(words, async () => {
    const { result, status } = await ask(method, path, { body: body && JSON.stringify(body), wait: 65000 });
    return words + ": done." + (result && result.bytes ? " " + bytes(result.bytes) + " at index " + number(result.index) + "." : status === 204 ? " There was nothing new." : "");
});
const member = (id) => "/nodes/" + encodeURIComponent(id);
const remove = async (node) => {
    if (await confirm({ title: "Remove " + node.id, yes: "Remove", word: node.id, danger: true,
        words: node.id + " leaves the cluster for good: its directory has to be emptied before it can join again. " + (node.voter ? "Its vote is lost with it." : "It has no vote.") })) {
        act("Removing " + node.id, "DELETE", member(node.id));
    }
};
const demote = async (node) => {
    if (await confirm({ title: "Take the vote of " + node.id, yes: "Demote", words: "It follows without a vote, and does not count for a majority. It can be promoted again." })) {
        act("Demoting " + node.id, "PUT", member(node.id), { voter: false });
    }
};
const actionsOf = (node) => {
    const found = [];
    if (may("leader-ops")) {
        if (node.voter && !node.leader && node.reachable && status.leader.id) {
            found.push(["Make leader", () => act("Moving the leader to " + node.id, "POST", "/leader", { id: node.id })]);
        }
        found.push(node.voter
            ? ["Demote", () => demote(node)]
            : ["Promote", () => act("Promoting " + node.id, "PUT", member(node.id), { voter: true })]);
    }
    if (may("remove")) { found.push(["Remove", () => remove(node), "danger"]); }
    return found;
};
// Buttons are replaced only when they differ, so that one that has the focus keeps it.
const drawActions = (box, name, found) => {
    const signature = found.map((one) => one[0]).join();
    if (box.dataset.has === signature) { return; }
    box.dataset.has = signature;
    box.replaceChildren(...found.map(([label, run, kind]) => {
        const one = button(label, run, kind);
        if (name) { one.setAttribute("aria-label", label + ": " + name); }
        return one;
    }));
};
const backup = () => attempt("Backup", async () => {
    const { headers } = await ask("HEAD", "/backup", { wait: 65000 });
    const name = headers.get("Content-Disposition").match(/filename="([^"]+)"/)[1];
    const link = make("a", { href: "/backup", download: name });
    if (credentials) {
        const answer = await fetch("/backup", { headers: headersWith({ Accept: "*/*" }), credentials: "omit" });
        if (!answer.ok) { throw new Problem(answer.status, await answer.json()); }
        link.href = URL.createObjectURL(await answer.blob());
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    }
    link.click();
    return "The browser saves " + name + ", " + bytes(Number(headers.get("Content-Length"))) + ".";
});
const drawOperate = () => {
    const found = [];
    if (may("backup")) { found.push(["Download a backup", backup]); }
    if (may("snapshot")) { found.push(["Snapshot this node", () => act("Snapshot of " + status.me.id, "POST", "/snapshot")]); }
    if (may("leader-ops") && nodes.length > 1 && status.leader.id) { found.push(["Move the leader", () => act("Moving the leader", "POST", "/leader", {})]); }
    drawActions($("operate"), "", found);
};

// ---- changes as they come ----

// Follows /watch from an index on. A browser's EventSource resumes by itself, but sends no
// credentials of ours: with those the stream is read here.
const stream = { state: "none", stop: () => {} };
const follow = (prefix, since, on, lost) => {
    stream.stop();
    const url = (from) => "/watch?prefix=" + encodeURIComponent(prefix) + "&since=" + from;
    let ended = false, again = 0;
    const set = (value) => { if (!ended) { stream.state = value; live(); } };
    const restart = () => { set("wait"); again = setTimeout(() => { if (!ended) { lost(); } }, 1500); };
    const take = (kind, data, id) => {
        if (id) { since = Number(id); }
        if (kind === "put" || kind === "delete") { on(kind, JSON.parse(data)); }
        if (kind === "lost" || kind === "reset") { lost(); }
    };
    set("wait");
    if (!credentials) {
        const source = new EventSource(url(since));
        source.onopen = () => set("live");
        source.onerror = () => { if (source.readyState === EventSource.CLOSED) { restart(); } else { set("wait"); } };
        for (const kind of ["put", "delete", "lost", "reset"]) {
            source.addEventListener(kind, (event) => take(kind, event.data, event.lastEventId));
        }
        stream.stop = () => { ended = true; clearTimeout(again); source.close(); };
        return;
    }
    const stop = new AbortController();
    stream.stop = () => { ended = true; clearTimeout(again); stop.abort(); };
    const read = async () => {
        const answer = await fetch(url(since), { headers: headersWith({ Accept: "text/event-stream" }), credentials: "omit", cache: "no-store", signal: stop.signal });
        if (!answer.ok) { restart(); return; }
        set("live");
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
            const { value, done } = await reader.read();
            if (done || ended) { break; }
            const blocks = (rest + value).split("\n\n");
            rest = blocks.pop();
            for (const block of blocks) {
                const field = (name) => (block.match(new RegExp("^" + name + ": ?(.*)$", "m")) || [])[1];
                take(field("event"), field("data"), field("id"));
            }
        }
        again = setTimeout(run, 1000);
        set("wait");
    };
    const run = () => read().catch(() => { if (!ended) { set("wait"); again = setTimeout(run, 1000); } });
    run();
};

// ---- the tree of keys ----

const PAGE = 200;
let root = null, separator = "/", chosen = null;
// By the order of their bytes in UTF-8, which is that of code points.
const order = (a, b) => {
    let i = 0;
    while (i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i)) { i++; }
    if (i === a.length || i === b.length) { return a.length - b.length; }
    const high = (c) => c >= 0xd800 && c < 0xe000 ? c + 0x2000 : c >= 0xe000 ? c - 0x800 : c;
    return high(a.charCodeAt(i)) - high(b.charCodeAt(i));
};
// When no leader is known, what this node has is better than nothing.
const read = async (path) => {
    const join = path.includes("?") ? "&" : "?";
    try {
        const result = await get(path + join + "timeout=3s");
        $("old").hidden = true;
        return result;
    } catch (error) {
        if (error.status !== 503 && error.status !== 504) { throw error; }
        const result = await get(path + join + "level=none");
        text($("old"), "No leader answers: this is what this node has, and may be old.");
        $("old").hidden = false;
        return result;
    }
};
const folder = (prefix, level, list) => ({ prefix, level, list, items: [], starts: [""], more: false });
// Browsers take a dot, or two, for a folder, however they are written.
const pathOf = (key) => {
    if (key === "." || key === "..") { throw new Error("A browser cannot send the key " + key + ": use craftd or curl --path-as-is."); }
    return "/key/" + encodeURIComponent(key);
};
// What has no shape of its own, or turns the direction of what follows, is shown by its number.
const visible = (key) => key.replace(/^ | $|[\0-\x1f\x7f-\xa0\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (c) => "\\u" + hex(c.charCodeAt(0), 4));
const nameOf = (item) => item.key === undefined ? item.prefix : item.key;
const preview = (item) => item.value === undefined ? item.value_base64 === undefined ? "" : "binary" : item.value.length > 80 ? item.value.slice(0, 80) : item.value;
// A time to live is that of the moment when it was read.
const timed = (item) => Object.assign(item, { until: item.ttl === undefined ? undefined : Date.now() + 1000 * item.ttl });
const left = (item) => Math.max(0, (item.until - Date.now()) / 1000);
const ttlOf = (item) => item.until !== undefined ? "expires in " + seconds(left(item)) : item.lease !== undefined ? "lease " + item.lease : "";

// Entries of the tab's history have their place in it as their state: `place` is that of the
// current one, and `home` that of the one whose key is shown.
let place = 0, home = 0, visited = "";
const visit = (address, push) => {
    history[push ? "pushState" : "replaceState"](push ? ++place : place, "", address);
    visited = location.hash;
    settle();
};
const settle = () => { if (view === "keys" && !asking && (!shown || (shown.key || null) === chosen)) { home = place; } };
const hashOf = (changes) => {
    const words = new URLSearchParams({ prefix: root ? root.prefix : "", sep: separator, ...(chosen ? { key: chosen } : {}), ...changes });
    for (const [name, value] of [...words]) { if (!value && name !== "sep" || name === "sep" && value === "/") { words.delete(name); } }
    return "#keys" + (String(words) && "?" + words);
};

const drawItem = (node, item) => {
    if (!item.row) {
        item.button = make("button", { type: "button", role: "treeitem", tabIndex: -1, "aria-level": String(node.level) }, make("span", { className: "label" }), make("span", { className: "ttl" }), make("span", { className: "preview" }));
        item.row = make("li", { role: "none" }, item.button);
        item.button.item = item;
        item.button.node = node;
        if (item.key === undefined) {
            item.button.setAttribute("aria-expanded", "false");
            item.button.onclick = () => toggle(node, item);
        } else {
            item.button.onclick = () => { location.hash = hashOf({ key: item.key }); };
        }
        if (nameOf(item) === undefined) { item.button.disabled = true; }
    }
    const [label, ttl, value] = item.button.children;
    const name = nameOf(item);
    text(label, name === undefined ? "(no UTF-8) " + (item.key_base64 || item.prefix_base64) : visible(name.slice(node.prefix.length)) || "(empty)");
    text(ttl, ttlOf(item));
    text(value, preview(item));
    item.button.setAttribute("aria-selected", String(item.key !== undefined && item.key === chosen));
};
const pager = (node, label, run) => {
    const one = make("button", { type: "button", role: "treeitem", tabIndex: -1, className: "more", "aria-level": String(node.level), "aria-selected": "false", onclick: run }, label);
    one.node = node;
    return make("li", { role: "none" }, one);
};
const drawFolder = (node) => {
    const rows = node.items.map((item) => { drawItem(node, item); return item.row; });
    const turn = (run) => async () => { run(); await load(node); const first = node.list.querySelector("button"); if (first) { focusOn(first); } };
    if (node.starts.length > 1) { rows.unshift(pager(node, "Previous " + PAGE, turn(() => node.starts.pop()))); }
    if (node.more) { rows.push(pager(node, "Next " + PAGE, turn(() => node.starts.push(node.next)))); }
    if (!rows.length) { rows.push(make("li", { role: "none", className: "note" }, node.level === 1 ? "No keys" + (node.prefix ? " begin with it." : ".") : "")); }
    // Rows that stay keep their place in the document, and with it the focus.
    rows.forEach((row, i) => { if (node.list.children[i] !== row) { node.list.insertBefore(row, node.list.children[i] || null); } });
    while (node.list.children.length > rows.length) { node.list.lastChild.remove(); }
    const buttons = $("tree").querySelectorAll("button");
    if (buttons.length && !$("tree").querySelector("button[tabindex='0']")) { buttons[0].tabIndex = 0; }
};
const load = async (node) => {
    const after = node.starts[node.starts.length - 1];
    const words = new URLSearchParams({ prefix: node.prefix, limit: PAGE });
    if (separator) { words.set("separator", separator); }
    if (after) { words.set("after", after); }
    const page = await read("/keys?" + words);
    const before = new Map(node.items.map((item) => [nameOf(item), item]));
    node.items = page.items.map((item) => timed(Object.assign(before.get(nameOf(item)) || {}, { ttl: undefined, lease: undefined }, item)));
    node.more = page.more && page.after !== undefined;
    node.next = page.after;
    drawFolder(node);
    await Promise.all(node.items.filter((item) => item.folder).map((item) => load(item.folder)));
    return page.index;
};
const toggle = async (node, item) => {
    if (item.folder) {
        item.folder.list.remove();
        item.folder = null;
        item.button.setAttribute("aria-expanded", "false");
        return;
    }
    const list = make("ul", { role: "group" });
    item.folder = folder(item.prefix, node.level + 1, list);
    item.button.setAttribute("aria-expanded", "true");
    item.row.append(list);
    await load(item.folder).catch((error) => complain(why(error)));
};

// Changes are gathered, and drawn a few times a second.
let changes = new Map(), drawing = 0;
const onChange = (kind, data) => {
    if (data.key === undefined) { return; }
    changes.set(data.key, { kind, data });
    if (chosen === data.key) { noticed(kind, data); }
    drawing = drawing || setTimeout(drawChanges, 250);
};
const drawChanges = () => {
    drawing = 0;
    const now = changes;
    changes = new Map();
    if (!root) { return; } // Signed out meanwhile.
    if (now.size > 500) { load(root).catch(() => {}); return; }
    const touched = new Set();
    for (const { kind, data } of now.values()) { change(root, kind, data, touched); }
    for (const node of touched) { drawFolder(node); }
};
const change = (node, kind, data, touched) => {
    const end = separator ? data.key.indexOf(separator, node.prefix.length) : -1;
    const name = end < 0 ? data.key : data.key.slice(0, end + separator.length);
    let at = 0;
    while (at < node.items.length && order(nameOf(node.items[at]) || "", name) < 0) { at++; }
    let item = node.items[at];
    const there = item && nameOf(item) === name && (item.key === undefined) === (end >= 0);
    if (there && item.folder) { change(item.folder, kind, data, touched); if (kind === "put" || item.folder.items.length) { return; } }
    if (kind === "delete") {
        if (there && end < 0) { node.items.splice(at, 1); item.row.remove(); touched.add(node); }
        if (there && end >= 0) { prune(node, item); }
        return;
    }
    // Events have no time to live: that of a key that is new, or has had one, is read.
    if (end < 0 && !(there && item.until === undefined && item.lease === undefined)) {
        node.late = node.late || setTimeout(() => { node.late = 0; load(node).catch(() => {}); }, 1000);
    }
    if (!there) {
        const start = node.starts[node.starts.length - 1];
        if (start && order(name, start) <= 0 || at === node.items.length && node.more) { return; }
        item = end < 0 ? { key: name } : { prefix: name };
        node.items.splice(at, 0, item);
        if (node.items.length > 2 * PAGE) { node.items.pop().row.remove(); node.more = true; node.next = nameOf(node.items[node.items.length - 1]); }
    }
    if (end < 0) {
        for (const field of ["value", "value_base64", "ttl", "lease"]) { item[field] = data[field]; }
        timed(item);
    }
    drawItem(node, item);
    item.button.classList.add("new");
    setTimeout(() => item.button.classList.remove("new"), 1500);
    touched.add(node);
};
// A prefix of which a key was deleted may have no more.
const prune = (node, item) => {
    clearTimeout(item.check);
    item.check = setTimeout(async () => {
        const page = await read("/keys?keys&limit=1&prefix=" + encodeURIComponent(item.prefix)).catch(() => null);
        if (page && !page.items.length && node.items.includes(item)) {
            node.items.splice(node.items.indexOf(item), 1);
            item.row.remove();
            drawFolder(node);
        }
    }, 500);
};

const openTree = async () => {
    const mine = root;
    try {
        const index = await load(mine);
        if (root !== mine) { return; }
        follow(mine.prefix, index, onChange, openTree);
        if (chosen) { openKey(chosen); }
    } catch (error) {
        if (root !== mine) { return; }
        stream.stop();
        stream.state = "wait";
        live();
        if (error.status === 401) { login("Keys need a user or a token."); return; }
        if (error.status < 500 && error.status !== 429) { // It would be so again.
            complain(why(error));
            $("tree").replaceChildren();
            stream.state = "none";
            live();
            return;
        }
        setTimeout(() => { if (root === mine && view === "keys") { openTree(); } }, 2000);
    }
};

const focusOn = (one) => {
    for (const other of $("tree").querySelectorAll("button[tabindex='0']")) { other.tabIndex = -1; }
    one.tabIndex = 0;
    one.focus();
};
const onTreeKey = (event) => {
    const all = [...$("tree").querySelectorAll("button")], at = all.indexOf(document.activeElement);
    const one = all[at];
    if (!one || event.altKey || event.ctrlKey || event.metaKey) { return; }
    const parent = one.closest("ul").parentElement.querySelector(":scope > button");
    const open = one.getAttribute("aria-expanded");
    let to = null;
    if (event.key === "ArrowDown") { to = all[at + 1]; }
    else if (event.key === "ArrowUp") { to = all[at - 1]; }
    else if (event.key === "Home") { to = all[0]; }
    else if (event.key === "End") { to = all[all.length - 1]; }
    else if (event.key === "ArrowRight") { if (open === "false") { one.click(); } else if (open) { to = all[at + 1]; } }
    else if (event.key === "ArrowLeft") { if (open === "true") { one.click(); } else { to = parent; } }
    else { return; }
    event.preventDefault();
    if (to) { focusOn(to); }
};

// ---- one value ----

// `shown` is what the node had: its key, bytes and index, index 0 for a key to be made.
// `format` is that of the field, `preferred` the one that was chosen last.
let shown = null, format = "text", preferred = "text", written = "";
const decoder = new TextDecoder("utf-8", { fatal: true });
const asText = (data) => unless(() => decoder.decode(data));
const bytesOf = (item) => item.value_base64 === undefined ? new TextEncoder().encode(item.value) : Uint8Array.from(atob(item.value_base64), (c) => c.charCodeAt(0));
const hex = (value, digits) => value.toString(16).padStart(digits, "0");
const asHex = (data) => {
    const lines = [];
    for (let i = 0; i < data.length; i += 16) {
        const part = [...data.subarray(i, i + 16)];
        lines.push(hex(i, 6) + "  " + part.map((c) => hex(c, 2)).join(" ").padEnd(47) + "  |" + part.map((c) => c > 31 && c < 127 ? String.fromCharCode(c) : ".").join("") + "|");
    }
    return lines.join("\n");
};
// Offsets and the column of text are for the reader, and need not be there.
const ofHex = (words) => {
    const digits = words.split("\n").map((line) => line.replace(/^\s*[0-9a-f]{6,}\s\s/i, "").replace(/\s\s\|.*$/, "")).join("").replace(/\s/g, "");
    if (!/^([0-9a-f]{2})*$/i.test(digits)) { throw new Error("These are not pairs of hexadecimal digits."); }
    return Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));
};
// Indents JSON without reading its numbers, which may have more digits than ours.
const indent = (words) => {
    let depth = 0;
    const line = () => "\n" + "  ".repeat(depth);
    const tokens = words.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) || [];
    return tokens.map((token, i) => {
        if (token === "{" || token === "[") { depth++; return token + ("]}".includes(tokens[i + 1]) ? "" : line()); }
        if (token === "}" || token === "]") { depth--; return ("[{".includes(tokens[i - 1]) ? "" : line()) + token; }
        return token === "," ? "," + line() : token === ":" ? ": " : token;
    }).join("");
};
// The function's result; null when it throws.
const unless = (run) => { try { return run(); } catch (error) { return null; } };
const isJson = (words) => unless(() => [JSON.parse(words)]) !== null;
const isDirty = () => Boolean(shown) && $("bytes").value !== written;
const fault = (words) => { text($("wrong"), words); $("wrong").hidden = !words; };

// What was typed is dropped only if the user agrees; otherwise the key that it is for
// stays the chosen one. Resolves to whether it may go.
let asking = null;
const drops = () => {
    if (!isDirty()) { return true; }
    asking = asking || confirm({ title: "Drop what was typed", words: "The value of " + visible(shown.key || "the new key") + " was changed here and is not saved.", yes: "Drop it", danger: true }).then((yes) => {
        asking = null;
        if (yes) {
            written = $("bytes").value;
            buttons();
        } else if (shown) {
            chosen = shown.key || null;
            if (place === home) { visit(hashOf({})); } else { history.go(home - place); }
            markChosen();
        }
        return yes;
    });
    return asking;
};

// The bytes that the field stands for, in the format that it is shown in.
const edited = () => {
    const words = $("bytes").value;
    if (!isDirty()) { return shown.data; }
    if (format === "hex") { return ofHex(words); }
    if (format === "json" && !isJson(words)) { throw new Error("This is not JSON. Show it as text to save it as it is."); }
    return new TextEncoder().encode(words);
};
const choose = (wanted) => {
    format = wanted;
    for (const one of document.getElementsByName("format")) { one.checked = one.value === format; }
};
const fill = (data, wanted) => {
    const words = asText(data);
    // A field for text keeps no carriage returns, and none but text.
    const plain = words !== null && !words.includes("\r") && !words.includes("\0");
    const json = plain && isJson(words);
    choose(wanted === "json" && json ? "json" : wanted !== "hex" && plain ? "text" : "hex");
    for (const one of document.getElementsByName("format")) {
        one.disabled = one.value === "text" && !plain || one.value === "json" && !json;
    }
    $("bytes").value = format === "hex" ? asHex(data) : format === "json" ? indent(words) : words;
};
const showBytes = (data, wanted) => { fill(data, wanted); written = $("bytes").value; fault(""); buttons(); };
const buttons = () => {
    const writable = shown && may("write", shown.index ? shown.key : $("new-name").value);
    $("bytes").readOnly = shown && shown.index && !writable;
    $("save").disabled = !writable || shown.busy || Boolean(shown.index) && !isDirty();
    $("undo").disabled = !isDirty();
    $("delete").hidden = !shown || !shown.index || !writable;
    if (document.activeElement.disabled) { $("key-name").focus(); }
};
const drawMeta = () => {
    const facts = shown.index ? { "Index": number(shown.index), "Created at": number(shown.create_index), "Version": number(shown.version), "Size": bytes(shown.data.length) } : {};
    if (shown.until !== undefined) { facts["Expires in"] = seconds(left(shown)); }
    if (shown.lease !== undefined) { facts.Lease = shown.lease; }
    drawPairs($("meta"), facts);
};
const adopt = (meta) => { shown = timed({ ...meta, key: chosen, data: bytesOf(meta) }); $("conflict").hidden = true; drawMeta(); settle(); };
// The form of what is shown: of a key, or of one that is to be made.
const present = () => {
    text($("key-name"), shown.index ? visible(shown.key) : "New key");
    $("new-label").hidden = Boolean(shown.index);
    $("conflict").hidden = true;
    $("value").hidden = false;
    drawMeta();
};
const openKey = async (key) => {
    try {
        const meta = await read(pathOf(key) + "?meta");
        if (chosen !== key) { return; }
        // Typed while the answer was on its way: it stays, or is dropped for another key.
        if (shown && shown.key !== key && (!await drops() || chosen !== key)) { return; }
        const typed = shown && shown.key === key && isDirty();
        if (typed && meta.index > shown.index) { conflict(meta); return; }
        const other = !shown || shown.key !== key;
        adopt(meta);
        present();
        if (typed) { buttons(); return; }
        showBytes(shown.data, preferred);
        if (other) { $("value").scrollIntoView({ block: "nearest" }); }
    } catch (error) {
        if (chosen !== key) { return; }
        if (isDirty() && error.status === 404 && shown.key === key) { conflict(null); return; }
        if (!isDirty()) {
            $("value").hidden = true;
            shown = null;
        }
        complain(error.status === 404 ? "There is no key " + visible(key) + "." : why(error));
    }
};
const newKey = async () => {
    if (!await drops()) { return; }
    shown = { index: 0, data: new Uint8Array() };
    const before = chosen;
    chosen = null;
    visit(hashOf({}), before);
    complain("");
    present();
    $("new-name").value = root.prefix;
    showBytes(shown.data, "text");
    $("new-name").focus();
};
// A change of the key that is open: its value is shown unless that would lose what was
// typed; then saving it will be refused.
const noticed = (kind, data) => {
    if (!shown || shown.key !== data.key || data.index <= shown.index) { return; }
    if (shown.busy) {
        shown.late = [kind, data];
    } else if (isDirty() || kind === "delete") {
        conflict(kind === "delete" ? null : data);
    } else {
        adopt({ ...data, version: shown.version + 1 });
        showBytes(shown.data, preferred);
        openKey(chosen);
    }
};
const conflict = (theirs) => {
    const mine = theirs && unless(edited), data = mine && bytesOf(theirs);
    // A write of ours whose answer was lost, or the same value by chance.
    if (mine && data.length === mine.length && data.every((c, i) => c === mine[i])) {
        report(visible(theirs.key) + " has this value now.");
        written = $("bytes").value;
        fault("");
        openKey(theirs.key);
        return;
    }
    shown.theirs = theirs;
    text($("conflict-why"), theirs
        ? (shown.index ? "Somebody else has changed this key meanwhile" : "This key exists already") + ", at index " + number(theirs.index) + ". Nothing was overwritten. Their value:"
        : "Somebody else has deleted this key meanwhile. Nothing was written.");
    $("theirs").hidden = !theirs;
    text($("theirs"), theirs ? theirs.value === undefined ? asHex(bytesOf(theirs)) : theirs.value : "");
    text($("take"), theirs ? "Load theirs" : "Close");
    text($("over"), theirs ? "Replace theirs by mine" : "Create it again with mine");
    $("conflict").hidden = false;
};
const idle = (mine) => {
    mine.busy = false;
    if (mine.late) { noticed(...mine.late); } // noticed() compares the keys.
    buttons();
};
const store = async (key, data, condition) => {
    const words = new URLSearchParams();
    // Without them the key would lose its time to live, or its lease.
    if (shown.lease !== undefined) { words.set("lease", shown.lease); } else if (shown.until !== undefined) { words.set("ttl", Math.max(100, Math.round(left(shown) * 1000)) + "ms"); }
    const mine = shown; // Another key may be opened meanwhile.
    mine.busy = true; // What comes meanwhile may be this write.
    buttons();
    try {
        const sent = $("bytes").value;
        const { headers } = await ask("PUT", pathOf(key) + (String(words) && "?" + words), { body: data, headers: { "Content-Type": "application/octet-stream", ...condition } });
        report("Saved " + visible(key) + ".");
        Object.assign(mine, { key, data, index: Number(headers.get("ETag").replace(/"/g, "")) });
        if (shown === mine) { written = sent; }
        if (chosen === key) { await openKey(key); } else if (!chosen && shown === mine) { location.hash = hashOf({ key }); }
    } catch (error) {
        if (error.status === 412) {
            const theirs = await read(pathOf(key) + "?meta").catch((fail) => fail.status === 404 ? null : undefined);
            if (theirs !== undefined && shown === mine) { chosen = mine.key = key; visit(hashOf({})); conflict(theirs); return; }
        }
        if (shown === mine) { fault("Save: " + why(error)); } else { complain("Save " + visible(key) + ": " + why(error)); }
    } finally {
        idle(mine);
    }
};
const save = async (event) => {
    event.preventDefault();
    try {
        const data = edited(), key = shown.index ? shown.key : $("new-name").value;
        if (!key) { throw new Error("A key has at least one character."); }
        fault("");
        await store(key, data, shown.index ? { "If-Match": '"' + shown.index + '"' } : { "If-None-Match": "*" });
    } catch (error) {
        fault(error.message);
    }
};
const overwrite = async () => {
    try {
        await store(shown.key, edited(), shown.theirs ? { "If-Match": '"' + shown.theirs.index + '"' } : { "If-None-Match": "*" });
    } catch (error) {
        fault(error.message);
    }
};
const markChosen = () => {
    for (const one of $("tree").querySelectorAll("button[aria-selected]")) {
        one.setAttribute("aria-selected", String(one.item !== undefined && one.item.key !== undefined && one.item.key === chosen));
    }
};
const closeKey = () => {
    if ($("value").contains(document.activeElement)) { $("main").focus(); }
    chosen = shown = null;
    $("value").hidden = true;
    visit(hashOf({}));
    markChosen();
};
const take = () => {
    if (!shown.theirs) { closeKey(); return; }
    written = $("bytes").value;
    openKey(chosen);
};
const erase = async () => {
    const mine = shown, { key, index } = mine;
    if (!await confirm({ title: "Delete this key", words: visible(key), yes: "Delete", danger: true })) { return; }
    mine.busy = true;
    try {
        await ask("DELETE", pathOf(key), { headers: { "If-Match": '"' + index + '"' } });
        report("Deleted " + visible(key) + ".");
        if (chosen === key) { closeKey(); }
    } catch (error) {
        const theirs = error.status === 412 && await read(pathOf(key) + "?meta").catch(() => null);
        if (shown !== mine) { complain("Delete " + visible(key) + ": " + why(error)); } else if (error.status === 412) { conflict(theirs); } else { fault("Delete: " + why(error)); }
    }
    idle(mine);
};
const onFormat = (event) => {
    try {
        const data = edited(), dirty = isDirty();
        preferred = event.target.value;
        fill(data, preferred);
        if (!dirty) { written = $("bytes").value; }
        fault("");
    } catch (error) {
        fault(error.message);
        choose(format);
    }
};

const showKeys = () => {
    const words = new URLSearchParams(location.hash.slice("#keys?".length));
    const prefix = words.get("prefix") || "", sep = words.has("sep") ? words.get("sep") : "/", key = words.get("key");
    if (!root || root.prefix !== prefix || separator !== sep || stream.state === "none") {
        separator = sep;
        root = folder(prefix, 1, $("tree"));
        $("tree").replaceChildren(make("li", { role: "none", className: "note" }, "Loading \u2026"));
        openTree();
    }
    $("prefix").value = prefix;
    $("separator").value = sep;
    $("new").hidden = !mayBelow("write", prefix);
    if (key && (key !== chosen || !shown || !shown.index)) {
        chosen = key;
        complain("");
        openKey(key);
    } else if (!key && (chosen || !shown)) {
        chosen = shown = null;
        $("value").hidden = true;
    }
    markChosen();
};

// ---- views ----

let view = "";
const draw = () => {
    live();
    for (const name of ["cluster", "keys"]) { $(name).hidden = view !== name || isStranger(); }
    if (status) { text($("where"), status.me.id + "  cluster " + status.cluster.slice(0, 8)); }
    document.title = (failing ? "No answer: " : "") + (status ? status.me.id + " \u2013 " : "") + "craftd";
    if (view === "cluster") { drawCluster(); return; }
    if (status) { text($("count"), number(status.keys) + " keys in all"); }
    if (shown && shown.until !== undefined) { drawMeta(); }
    for (const one of $("tree").querySelectorAll("button")) {
        if (one.item && one.item.until !== undefined) { text(one.children[1], ttlOf(one.item)); }
    }
};
const show = () => {
    view = location.hash.startsWith("#keys") ? "keys" : "cluster";
    for (const name of ["cluster", "keys"]) {
        if (view === name) { $("nav-" + name).setAttribute("aria-current", "page"); } else { $("nav-" + name).removeAttribute("aria-current"); }
    }
    $("nav-keys").href = hashOf({}); // To the key where the view was left.
    complain("");
    if (view === "keys" && !isStranger()) { showKeys(); } else { stream.stop(); stream.state = "none"; }
    poll();
    draw();
};

// Another address: of a key, of a prefix or of the other view, which drops nothing.
const navigated = async () => {
    if (history.state === null) { // A new entry, or the same address once more.
        if (location.hash !== visited) { place++; }
        home = Math.min(home, place);
        history.replaceState(place, "");
    }
    place = history.state;
    visited = location.hash;
    const words = new URLSearchParams(location.hash.slice("#keys?".length));
    const leaves = location.hash.startsWith("#keys") && shown && words.get("key") !== (shown.key || null);
    if (!leaves || await drops()) { show(); settle(); }
};

const start = async () => {
    place = home = history.state || 0;
    visit();
    $("login").onsubmit = signIn;
    $("login-cancel").onclick = () => { $("login").hidden = true; };
    $("sign").onclick = signOut;
    $("open").onsubmit = (event) => { event.preventDefault(); location.hash = hashOf({ prefix: $("prefix").value, sep: $("separator").value, key: "" }); };
    $("separator").onchange = () => $("open").requestSubmit();
    $("new").onclick = newKey;
    $("tree").onkeydown = onTreeKey;
    $("tree").addEventListener("focusin", (event) => { if (event.target.tabIndex < 0) { focusOn(event.target); } });
    $("value").onsubmit = save;
    $("bytes").oninput = buttons;
    $("new-name").oninput = buttons;
    $("new-name").onkeydown = (event) => { if (event.key === "Enter") { event.preventDefault(); $("bytes").focus(); } };
    $("undo").onclick = () => { $("bytes").value = written; fault(""); buttons(); };
    $("delete").onclick = erase;
    $("take").onclick = take;
    $("over").onclick = overwrite;
    for (const one of document.getElementsByName("format")) { one.onchange = onFormat; }
    addEventListener("beforeunload", (event) => { if (isDirty() || kept) { event.preventDefault(); } });
    addEventListener("popstate", navigated);
    // The second click of a double click does nothing more, nor does a key that is held down.
    const refuse = (event) => { event.preventDefault(); event.stopPropagation(); };
    addEventListener("click", (event) => { if (event.detail > 1 && event.target.closest("button")) { refuse(event); } }, true);
    addEventListener("keydown", (event) => { if (event.repeat && event.key === "Enter" && event.target !== $("bytes")) { refuse(event); } }, true);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { poll(); } });
    for (;;) {
        try {
            await identify();
            break;
        } catch (error) {
            failing = failing || Date.now();
            live();
            await new Promise((resolve) => setTimeout(resolve, EVERY));
        }
    }
    if (isStranger()) { login("This cluster asks who you are (--auth)."); }
    show();
};
start();
