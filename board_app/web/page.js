"use strict";
// The colours of annotate.py, as RGB.
const COLOURS = ["#ffb042", "#2ecc71", "#46a0ff", "#ff5050", "#c86ee6", "#f0e15a", "#3cc8c8", "#ff82aa"];
const STATE_EVERY_MS = 500;
const PICTURE_PAUSE_MS = 40;
const RETRY_MS = 1000;
const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };
const ms = (value) => (value === null || value === undefined ? "–" : value < 10 ? value.toFixed(1) : value.toFixed(0));

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function health(kind, text) {
  at("health").className = "pill " + kind;
  say("health", text);
}

function ago(seconds) {
  if (seconds < 90) return Math.round(seconds) + " s ago";
  return seconds < 5400 ? Math.round(seconds / 60) + " min ago" : Math.round(seconds / 3600) + " h ago";
}

function showDetections(state) {
  const list = at("detections");
  const now = state.frame && state.frame.detections.length > 0;
  const shown = now ? state.frame : state.last_found;
  const found = shown ? shown.detections : [];
  say("when", now || !shown ? "In this picture" : "Last found, " + ago(shown.age_s));
  list.classList.toggle("past", !now);
  const items = found.slice(0, 12).map((one) => {
    const known = state.classes[one.class_id];
    const item = make("li");
    const dot = make("span", "dot");
    dot.style.background = COLOURS[one.class_id % COLOURS.length];
    const name = make("span", "name");
    name.append(make("span", "code", known.name), known.label === known.name ? "" : " " + known.label);
    item.append(dot, name, make("span", "share", Math.round(100 * one.confidence) + " %"));
    return item;
  });
  list.classList.toggle("empty", !items.length);
  if (!items.length) items.push(make("li", "none", "nothing found yet"));
  if (found.length > items.length) items.push(make("li", "none", "and " + (found.length - items.length) + " more"));
  list.replaceChildren(...items);
}

function showStages(stages, origin) {
  const longest = Math.max(...Object.values(stages).map((stage) => stage.p50 || 0), 0.001);
  const cells = Object.entries(stages).flatMap(([name, stage]) => {
    const bar = make("span", "bar");
    const fill = make("i");
    fill.style.width = (100 * (stage.p50 || 0)) / longest + "%";
    bar.append(fill);
    return [make("span", "", name === "dpu" ? "DPU, " + origin : name), bar, make("span", "ms", ms(stage.p50) + " ms")];
  });
  at("stages").replaceChildren(...cells);
}

function show(state) {
  if (state.healthy) health("good", "healthy");
  else health(state.frames_done ? "bad" : "waiting", state.reasons.join("; "));
  say("model", state.model || "");
  say("fps", state.fps.toFixed(1));
  say("latency", ms(state.latency_ms.p50));
  say("latency99", "99 %: " + ms(state.latency_ms.p99) + " ms");
  say("done", state.frames_done.toLocaleString("en"));
  say("in", "of " + state.frames_in.toLocaleString("en") + " captured");
  say("dropped", state.frames_dropped.toLocaleString("en"));
  const share = state.frames_in ? (100 * state.frames_dropped) / state.frames_in : 0;
  const lost = [share.toFixed(share < 10 ? 1 : 0) + " % of captured"];
  if (state.unreadable) lost.push(state.unreadable + " unreadable");
  if (state.reconnects) lost.push(state.reconnects + " reconnects");
  say("lost", lost.join(", "));
  say("bound", state.frames_done ? "the DPU allows " + state.dpu_bound_fps.toFixed(0) + ", " + state.origin : "");
  say("source", "source " + (state.source || "–"));
  say("release", state.release ? "release " + state.release : "");
  say("sha", state.model_sha256 ? "model " + state.model_sha256.slice(0, 12) : "");
  const frame = state.frame;
  say("caption", frame ? (frame.name || "frame " + frame.index) + " · " + frame.t_utc.replace("T", " ") : "");
  document.title = (state.healthy ? "" : "! ") + "Roadslim " + state.fps.toFixed(0) + " fps";
  showDetections(state);
  showStages(state.stages_ms, state.origin || "not yet run");
}

async function watchState() {
  let pause = STATE_EVERY_MS;
  try {
    show(await (await fetch("api/state")).json());
  } catch (error) {
    health("bad", "the application does not answer");
    pause = RETRY_MS;
  }
  setTimeout(watchState, pause);
}

// One picture at a time, the next when it is there: a slow connection gets fewer pictures, never old ones.
async function watchPicture() {
  let pause = PICTURE_PAUSE_MS;
  try {
    const answer = await fetch("snapshot.jpg");
    if (!answer.ok) throw new Error(answer.status);
    const address = URL.createObjectURL(await answer.blob());
    const picture = at("picture");
    const before = picture.src;
    picture.src = address;
    await picture.decode();
    if (before.startsWith("blob:")) URL.revokeObjectURL(before);
    picture.hidden = false;
    at("placeholder").hidden = true;
  } catch (error) {
    pause = RETRY_MS;
  }
  if (document.hidden) pause = RETRY_MS;
  setTimeout(watchPicture, pause);
}

watchState();
watchPicture();
