// How turns look. Text from people and models goes in as textContent only, so it can never become markup.

export const at = (id) => document.getElementById(id);

export function element(tag, className, text = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  made.append(...children);
  return made;
}

export function button(className, text, action) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

/** A question. */
export function askedView(text) {
  return element("article", "asked", "", unseen("您："), element("p", "text", text));
}

/** An answer being written: `text` grows, `under` holds figures and buttons; thoughts and calls stand around the text
 * where there are some. */
export function answeredView() {
  const seal = element("span", "seal", "翰");
  seal.setAttribute("aria-hidden", "true");
  const text = element("p", "text");
  const under = element("div", "under");
  const body = element("article", "answered", "", seal, unseen("翰林："), text, under);
  return { body, written: text, under };
}

/** What the model thought before an answer, folded. Gives where its text goes. */
export function thoughtView(shown) {
  const written = element("p", "text");
  shown.written.before(element("details", "thought", "", element("summary", "", "思考過程"), written));
  return written;
}

/** A tool that an answer asks for. Gives where its arguments go. */
export function callView(shown, name) {
  const written = element("code", "arguments");
  shown.under.before(element("p", "call", "", element("span", "", "呼叫工具："), element("code", "", name), written));
  return written;
}

/** Take away what an answer shows besides its text. */
export function withoutExtras(shown) {
  for (const extra of shown.body.querySelectorAll(".thought, .call")) extra.remove();
}

/** The choice of a model; hidden where there is only one. */
export function showModels(cards, chosen) {
  const choice = at("models");
  choice.replaceChildren(...cards.map((card) => Object.assign(element("option", "", card.id), { value: card.id })));
  choice.value = chosen;
  choice.hidden = cards.length < 2;
  at("model").hidden = cards.length > 1;
}

/** A passage: the given beginning, and what the model writes after it. */
export function passageView(given) {
  const written = element("span", "written");
  const under = element("div", "under");
  const text = element("p", "text", "", element("span", "given", given), written);
  return { body: element("article", "passage", "", text, under), written, under };
}

export function failureView(sentence, retry) {
  const made = element("div", "failure", "", element("p", "", sentence), button("", "重試", retry));
  made.setAttribute("role", "alert");
  return made;
}

export function noteView(sentence) {
  return element("p", "note", sentence);
}

/** "42 個詞元 · 每秒 18.3 個": the first token's wait is reading the prompt, so speed counts from the second. */
export function figures({ tokens, first, last, finish }) {
  const parts = [`${tokens} 個詞元`];
  const seconds = (last - first) / 1000;
  if (tokens > 1 && seconds > 0) parts.push(`每秒 ${((tokens - 1) / seconds).toFixed(1)} 個`);
  if (finish === "length") parts.push("已達長度上限");
  if (finish === "stopped") parts.push("已停止");
  return element("span", "figures", parts.join(" · "));
}

/** Say something to people who listen instead of look. */
export function announce(sentence) {
  at("status").textContent = sentence;
}

/** Run `change`, and keep the end in sight if it was in sight. */
export function keepingEndInSight(change) {
  const scroller = at("scroller");
  const near = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  change();
  if (near) scroller.scrollTop = scroller.scrollHeight;
}

export function scrollToEnd() {
  at("scroller").scrollTop = at("scroller").scrollHeight;
}

function unseen(text) {
  return element("span", "unseen", text);
}
