// What fits into the model's context. The server counts exactly and refuses what is too long; this estimates first,
// so that the refusal is rare, and gives up the oldest parts instead of the conversation.

// Tokens for each character, learnt from the server's counts.
let tokensPerCharacter = 1;

export function learn(characters, promptTokens) {
  if (characters > 0) tokensPerCharacter = promptTokens / characters;
}

/** The newest turns that leave room for a reply, less `extra` turns. The last question always goes along. */
export function fittingTurns(turns, system, promptTokens, extra) {
  const sizes = turns.map((turn) => estimate(turn.content));
  const room = promptTokens - estimate(system);
  let start = 0;
  let total = sizes.reduce((sum, size) => sum + size, 0);
  while (start < turns.length - 1 && total > room) total -= sizes[start++];
  start = Math.min(start + extra, turns.length - 1);
  // A reply without its question would be a strange beginning.
  while (start < turns.length - 1 && turns[start].role === "assistant") start += 1;
  return turns.slice(start);
}

/** The end of the text that leaves room for more; each `extra` gives up a quarter. */
export function fittingEnd(text, promptTokens, extra) {
  const characters = Array.from(text);
  const room = Math.floor((promptTokens / tokensPerCharacter) * 0.75 ** extra);
  return characters.slice(-Math.max(room, 16)).join("");
}

// A turn's markup takes a few tokens of its own.
function estimate(text) {
  return text ? text.length * tokensPerCharacter + 8 : 0;
}
