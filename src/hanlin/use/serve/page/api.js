// Talking with the server: the model's card, a reply as a stream, and what to tell a person when it fails.

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? "");
    this.status = status;
    this.code = error?.code ?? "";
  }
}

/** {id, context_length, max_tokens, chat} of every model that writes. */
export async function fetchCards(token) {
  const response = await fetch("v1/models", { headers: headers(token) });
  if (!response.ok) throw await asError(response);
  return (await response.json()).data.filter((card) => !card.embeddings);
}

/** Post `body` and yield {text}, {thought}, {call} (a function's name) and {argument} for each piece, at the end {finish}
 * and {usage}. */
export async function* streamReply(path, body, token, signal) {
  const response = await fetch(path, {
    method: "POST",
    headers: { ...headers(token), "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok) throw await asError(response);
  for await (const data of serverSentEvents(response.body)) {
    if (data === "[DONE]") return;
    const value = JSON.parse(data);
    if (value.error) throw new ApiError(500, value.error);
    const choice = value.choices[0];
    const text = choice?.delta?.content ?? choice?.text;
    if (choice?.delta?.reasoning_content) yield { thought: choice.delta.reasoning_content };
    if (text) yield { text };
    for (const { function: part } of choice?.delta?.tool_calls ?? []) {
      if (part.name) yield { call: part.name };
      if (part.arguments) yield { argument: part.arguments };
    }
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (value.usage) yield { usage: value.usage };
  }
  throw new TypeError("the stream ended early");
}

/** One sentence in Chinese about a failure, for the place where it happened. */
export function explain(error, card) {
  if (!(error instanceof ApiError)) return "連不上伺服器。請確認 hanlin serve 還在執行，再按重試。";
  if (error.code === "context_length_exceeded") {
    return `這段文字太長：模型一次最多讀 ${card?.context_length ?? "?"} 個詞元。請縮短後再試。`;
  }
  const sentences = {
    401: "這台伺服器需要存取權杖。請在設定中填入，再按重試。",
    403: "伺服器拒絕了這個網址。請改用 http://127.0.0.1 或 http://localhost 開啟。",
    404: "伺服器已換成另一個模型。按重試會改用新的模型。",
    413: "訊息太大，伺服器不收。請縮短後再試。",
    429: "排隊的請求太多。請稍候再按重試。",
    500: "模型產生文字時出錯，伺服器的記錄裡有原因。",
    503: "伺服器正在關閉。",
  };
  return sentences[error.status] ?? `發生錯誤（${error.status}）：${error.message}`;
}

async function* serverSentEvents(stream) {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let unread = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // A character cut between two network packets waits in the decoder for its last byte.
    unread += decoder.decode(value, { stream: true });
    const events = unread.split("\n\n");
    unread = events.pop();
    for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
  }
}

async function asError(response) {
  const body = await response.json().catch(() => null);
  return new ApiError(response.status, body?.error);
}

function headers(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}
