/** The command as a person would type it again. */

/** Quoted for a POSIX shell only where it must be. */
const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** `seed` is added when the words leave it to the default. */
export function commandLine(words: readonly string[], seed?: unknown): string {
  const given = words.some((word) => word === "--seed" || word.startsWith("--seed="));
  const seeded = typeof seed === "number" && !given ? ["--seed", String(seed)] : [];
  return ["orrery", ...words, ...seeded].map(shellWord).join(" ");
}
