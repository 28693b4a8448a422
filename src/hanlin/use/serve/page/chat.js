// The page: two modes (a conversation, a text to continue), one reply at a time. Nothing is kept when it is closed.

import { ApiError, explain, fetchCards, streamReply } from "./api.js";
import { fittingEnd, fittingTurns, learn } from "./fitting.js";
import { askForToken, connectSettings, rememberedModel, rememberModel, secret, settings, showLimit } from "./settings.js";
import * as view from "./view.js";

const { at, button, element } = view;

const MODES = {
  chat: {
    thread: at("thread-chat"),
    title: "想問什麼？",
    text: "由您執行的模型回答，不上網，也不保存對話。",
    label: "您的問題",
    placeholder: "輸入問題",
    send: "送出",
    examples: ["人民有無集會之自由？", "限制役男出境之規定違憲？", "大學自治之範圍為何？", "警察實施臨檢之要件為何？"],
  },
  text: {
    thread: at("thread-text"),
    title: "給一個開頭",
    text: "模型接著往下寫。還沒學過對話的基礎模型，請用這個模式。",
    label: "文章的開頭",
    placeholder: "輸入文章的開頭",
    send: "續寫",
    examples: ["人民之言論自由，", "按憲法第七條所揭示之平等原則，", "本件聲請人認為", "理由書：人民有訴訟之權，"],
  },
};

const state = { mode: "chat", cards: [], card: null, turns: [], running: null };

// Asking

function submit() {
  const text = at("entry").value.trim();
  if (!text || state.running || !state.card) return;
  at("entry").value = "";
  fitEntry();
  if (state.mode === "chat") ask(text);
  else writeOn({ given: text, written: "", shown: view.passageView(text) });
}

function ask(question) {
  state.turns.push({ role: "user", content: question });
  MODES.chat.thread.append(view.askedView(question));
  answer();
}

/** Answer the last question. */
async function answer() {
  const { thread } = MODES.chat;
  for (const old of thread.querySelectorAll(".again")) old.remove();
  const shown = view.answeredView();
  thread.append(shown.body);
  const written = await stream(thread, shown, "v1/chat/completions", chatBody, answer);
  if (written === null) return;
  if (written) state.turns.push({ role: "assistant", content: written });
  if (written) shown.under.append(copyButton(() => written));
  shown.under.append(button("quiet again", "重新產生", () => answerAgain(shown)));
}

function answerAgain(shown) {
  if (state.running) return;
  shown.body.remove();
  if (state.turns.at(-1).role === "assistant") state.turns.pop();
  answer();
}

/** Continue a passage from where it stands. */
async function writeOn(passage) {
  const { thread } = MODES.text;
  const { shown } = passage;
  if (!shown.body.isConnected) thread.append(shown.body);
  const makeBody = (extra) => textBody(passage.given + passage.written, extra);
  const written = await stream(thread, shown, "v1/completions", makeBody, () => writeOn(passage));
  if (written === null) return;
  passage.written += written;
  shown.under.append(copyButton(() => passage.given + passage.written));
  shown.under.append(button("quiet", "接著寫", () => state.running || writeOn(passage)));
}

/** Stream one reply into `shown`. Gives what was written, also when stopped; null when it failed or was cleared. */
async function stream(thread, shown, path, makeBody, retry) {
  thread.querySelector(".failure")?.remove();
  const run = { abort: new AbortController(), written: "", tokens: 0, first: 0, last: 0, finish: "", cleared: false };
  setRunning(run, shown);
  try {
    for await (const event of reply(path, makeBody, run, shown)) receive(event, run, shown);
  } catch (error) {
    if (!run.abort.signal.aborted) {
      fail(thread, shown, run, error, retry);
      return null;
    }
    run.finish = "stopped";
  } finally {
    setRunning(null, shown);
  }
  if (run.cleared) return null;
  shown.under.replaceChildren(view.figures(run));
  view.announce(run.finish === "stopped" ? "已停止" : `寫完了：${run.written}`);
  return run.written;
}

/** The reply's events. While the server says that the prompt is too long, ask again with less of it. */
async function* reply(path, makeBody, run, shown) {
  for (let extra = 0; ; extra += 1) {
    const { body, characters, dropped, last } = makeBody(extra);
    try {
      const events = streamReply(path, body, secret.token, run.abort.signal);
      const first = await events.next();
      if (dropped) shown.body.before(view.noteView("內容太長，較早的部分這次沒有給模型看。"));
      run.characters = characters;
      yield first.value;
      yield* events;
      return;
    } catch (error) {
      if (error.code !== "context_length_exceeded" || last) throw error;
    }
  }
}

function receive(event, run, shown) {
  if (event.finish) run.finish = event.finish;
  if (event.usage) {
    run.tokens = event.usage.completion_tokens;
    learn(run.characters, event.usage.prompt_tokens);
  }
  const said = event.text ?? event.thought ?? event.call ?? event.argument;
  if (!said) return;
  run.last = performance.now();
  run.first ||= run.last;
  run.tokens += 1;
  view.keepingEndInSight(() => {
    place(event, run, shown);
    shown.under.replaceChildren(view.figures(run));
  });
}

/** Put a piece where it belongs: the answer's text, its thought, or a call and its arguments. */
function place(event, run, shown) {
  if (event.text) {
    run.written += event.text;
    shown.written.append(event.text);
  } else if (event.thought) {
    run.thought ??= view.thoughtView(shown);
    run.thought.append(event.thought);
  } else if (event.call) {
    run.call = view.callView(shown, event.call);
  } else {
    run.call.append(event.argument);
  }
}

function fail(thread, shown, run, error, retry) {
  if (run.cleared) return;
  // What was written before the failure goes: the same prompt is asked again from its beginning.
  const written = shown.written.textContent;
  shown.written.textContent = written.slice(0, written.length - run.written.length);
  shown.under.replaceChildren();
  view.withoutExtras(shown);
  if (!shown.written.textContent && thread === MODES.chat.thread) shown.body.remove();
  showFailure(thread, error, retry);
}

/** The sentence and 重試, which looks at the server again when its model or its token may be another one. */
function showFailure(thread, error, retry) {
  if (error.status === 401) askForToken();
  const reconnect = !(error instanceof ApiError) || [401, 404].includes(error.status);
  const shown = view.failureView(explain(error, state.card), async () => {
    if (state.running) return;
    shown.remove();
    if (!reconnect || (await connect(retry))) retry();
  });
  thread.append(shown);
  showMode();
  view.scrollToEnd();
}

// Requests

function chatBody(extra) {
  const system = settings.system.trim();
  const turns = fittingTurns(state.turns, system, promptTokens(), extra);
  const messages = system ? [{ role: "system", content: system }, ...turns] : turns;
  return {
    body: { ...sampling(), messages },
    characters: messages.reduce((sum, message) => sum + message.content.length, 0),
    dropped: turns.length < state.turns.length,
    last: turns.length === 1,
  };
}

function textBody(text, extra) {
  const prompt = fittingEnd(text, promptTokens(), extra);
  return { body: { ...sampling(), prompt }, characters: prompt.length, dropped: prompt !== text, last: extra >= 8 };
}

/** What the prompt may take, so that a reply of a useful length still fits. */
function promptTokens() {
  const context = state.card.context_length;
  return context - Math.min(settings.max_tokens, Math.floor(context / 4));
}

function sampling() {
  const { temperature, top_p, max_tokens } = settings;
  return { model: state.card.id, temperature, top_p, max_tokens: Math.min(max_tokens, state.card.max_tokens) };
}

// The page around the threads

/** A base model opens in the mode that it can do. */
async function start() {
  if (await connect(start)) setMode(state.card.chat ? "chat" : "text");
}

/** Read which models are served. Says on the page when there is no answer. */
async function connect(retry) {
  try {
    state.cards = await fetchCards(secret.token);
  } catch (error) {
    at("model").textContent = "未連線";
    showFailure(MODES[state.mode].thread, error, retry);
    return false;
  }
  if (state.cards.length === 0) {
    at("model").textContent = "沒有會寫字的模型";
    return false;
  }
  const before = state.card?.id ?? rememberedModel();
  showCard(state.cards.find((card) => card.id === before) ?? state.cards[0]);
  view.showModels(state.cards, state.card.id);
  return true;
}

/** From now on this model answers. */
function showCard(card) {
  state.card = card;
  at("model").textContent = card.id;
  document.title = `${card.id} · 翰林`;
  showLimit(Math.min(card.max_tokens, card.context_length));
  showMode();
}

/** Another model: the conversation stays, and it goes on with it. An empty page changes to what the model can do. */
function chooseModel() {
  rememberModel(at("models").value);
  showCard(state.cards.find((card) => card.id === at("models").value));
  const empty = !MODES[state.mode].thread.hasChildNodes();
  if (empty && !state.running) setMode(state.card.chat ? "chat" : "text");
}

function setMode(mode) {
  state.mode = mode;
  for (const name of Object.keys(MODES)) {
    at(`mode-${name}`).setAttribute("aria-pressed", String(name === mode));
    MODES[name].thread.hidden = name !== mode;
  }
  const { title, text, label, placeholder, send, examples } = MODES[mode];
  at("welcome-title").textContent = title;
  at("welcome-text").textContent = text;
  at("entry-label").textContent = label;
  at("entry").placeholder = placeholder;
  at("send-label").textContent = send;
  at("examples").replaceChildren(...examples.map((example) => element("li", "", "", button("", example, () => choose(example)))));
  showMode();
  view.scrollToEnd();
}

/** Everything that depends on the mode, on whether its thread is empty, and on whether a reply is being written. */
function showMode() {
  const empty = !MODES[state.mode].thread.hasChildNodes();
  at("welcome").hidden = !empty;
  at("clear").disabled = empty;
  at("send").hidden = state.running !== null;
  at("stop").hidden = state.running === null;
  at("send").disabled = !state.card || !at("entry").value.trim();
}

function setRunning(run, shown) {
  const hadFocus = document.activeElement;
  state.running = run;
  shown.body.classList.toggle("writing", run !== null);
  if (run) shown.under.replaceChildren();
  if (run) view.scrollToEnd();
  showMode();
  // The button that was pressed has gone. With a keyboard, typing goes on; on a phone the keys would cover the reply.
  const lost = [at("send"), at("stop"), document.body].includes(hadFocus);
  if (lost && matchMedia("(pointer: fine)").matches) at("entry").focus();
}

function choose(example) {
  at("entry").value = example;
  submit();
}

function clear() {
  if (state.running) {
    state.running.cleared = true;
    state.running.abort.abort();
  }
  if (state.mode === "chat") state.turns = [];
  MODES[state.mode].thread.replaceChildren();
  showMode();
  view.announce("已清除");
  at("entry").focus();
}

function copyButton(text) {
  const made = button("quiet", "複製", async () => {
    await navigator.clipboard.writeText(text());
    made.textContent = "已複製";
    setTimeout(() => (made.textContent = "複製"), 1500);
  });
  return made;
}

function fitEntry() {
  at("entry").style.height = "auto";
  at("entry").style.height = `${at("entry").scrollHeight}px`;
  showMode();
}

function onKey(event) {
  // Enter that picks a character in an input method is not a send. Safari reports that key as 229, outside composition.
  const composing = event.isComposing || event.keyCode === 229;
  if (event.key !== "Enter" || event.shiftKey || composing) return;
  event.preventDefault();
  submit();
}

at("entry").addEventListener("keydown", onKey);
at("entry").addEventListener("input", fitEntry);
at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
at("stop").addEventListener("click", () => state.running?.abort.abort());
at("clear").addEventListener("click", clear);
at("models").addEventListener("change", chooseModel);
for (const name of Object.keys(MODES)) at(`mode-${name}`).addEventListener("click", () => setMode(name));
connectSettings();
setMode("chat");
start();
